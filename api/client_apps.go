package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
)

// Apps returns all bundles. It is never nil without an error.
func (c *Client) Apps(ctx context.Context, options ...CallOption) ([]App, error) {
	var apps []App
	if err := c.call(ctx, newCall(http.MethodGet, options, "app"), nil, &apps); err != nil {
		return nil, err
	}
	if apps == nil {
		apps = []App{}
	}
	return apps, nil
}

// AppsOnNodes is Apps, and says which nodes have each bundle.
func (c *Client) AppsOnNodes(ctx context.Context, options ...CallOption) ([]App, error) {
	return c.Apps(ctx, append(options[:len(options):len(options)], func(k *call) { k.query.Set("nodes", "1") })...)
}

// DownloadApp returns a bundle's archive as it was uploaded, which the caller closes, and its size in bytes. It is not
// verified: the node's answer to Apps has the digest.
func (c *Client) DownloadApp(ctx context.Context, name string, options ...CallOption) (io.ReadCloser, int64, error) {
	k := newCall(http.MethodGet, options, "app", name, "archive")
	k.accept = okOnly
	resp, err := c.send(ctx, k, nil)
	if err != nil {
		return nil, 0, err
	}
	return resp.Body, resp.ContentLength, nil
}

// UploadApp sends a bundle's archive; typ is its format, such as "tar.gz". It streams: r is read once, to its end
// unless the node refuses before; an error of r ends the call and is in the chain of the error returned. Progress,
// if not nil, is called with the bytes read so far. state.ErrExists if the name is taken.
func (c *Client) UploadApp(ctx context.Context, name, typ string, r io.Reader, progress func(int64), options ...CallOption) error {
	k := newCall(http.MethodPost, options, "app")
	k.accept = noContentOnly

	// The parts before the file and the end after it are made first, so that the whole can be read without a
	// goroutine that somebody would have to wait for. The file is the last part, as a node may rely on.
	var parts bytes.Buffer
	m := multipart.NewWriter(&parts)
	for _, f := range [][2]string{{"name", name}, {"type", typ}} {
		if err := m.WriteField(f[0], f[1]); err != nil {
			return fmt.Errorf("write part %q: %w", f[0], err)
		}
	}
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", multipart.FileContentDisposition("file", name))
	header.Set("Content-Type", "application/octet-stream")
	if _, err := m.CreatePart(header); err != nil {
		return fmt.Errorf("write part \"file\": %w", err)
	}
	before := bytes.Clone(parts.Bytes())
	parts.Reset()
	if err := m.Close(); err != nil {
		return fmt.Errorf("write the end of the parts: %w", err)
	}

	resp, err := c.send(ctx, k, &body{
		r:           io.MultiReader(bytes.NewReader(before), &progressReader{r: r, report: progress}, &parts),
		contentType: m.FormDataContentType(), size: -1,
	})
	if err != nil {
		return err
	}
	return c.decode(k, resp, nil)
}

// progressReader reports how much was read.
type progressReader struct {
	r      io.Reader
	n      int64
	report func(int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	if p.report != nil && n > 0 {
		p.report(p.n)
	}
	return n, err
}

// SetAppMetadata sets a bundle's signature and hash, both; a wrong hash is state.ErrInvalid.
func (c *Client) SetAppMetadata(ctx context.Context, name string, m AppMetadata, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "app", name)
	k.accept = noContentOnly
	return c.call(ctx, k, m, nil)
}

// DeleteApp removes a bundle; state.ErrInUse if a site serves it or keeps it to go back to.
func (c *Client) DeleteApp(ctx context.Context, name string, options ...CallOption) error {
	k := newCall(http.MethodDelete, options, "app", name)
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}
