package azurerepo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"go.uber.org/zap"

	"statiko/bundle"
	"statiko/bundle/objectstore"
)

// Options say where the container is and how it is used.
type Options struct {
	// Account is the storage account's name, Endpoint its URL; "" means that of the public cloud.
	Account, Endpoint string
	Container         string
	// AccessKey is the account's key. Without it, the service principal asks for tokens.
	AccessKey string
	// TenantID, ClientID and ClientSecret are the service principal.
	TenantID, ClientID, ClientSecret string
	// Authority is the URL of who gives tokens; "" means that of the endpoint's cloud.
	Authority string
	// Roots are the authorities of servers' certificates; nil means the machine's list.
	Roots *x509.CertPool
	// Policy bounds how long faults are borne.
	Policy objectstore.Policy
	// BlockSize is that of the blocks of larger uploads, in bytes; 0 means 8 MiB. An archive of up to one block is
	// sent in one request.
	BlockSize int64
	Log       *zap.Logger
}

// Repository is a [bundle.Repository] in a container. Make it with [Open], and close it.
type Repository struct {
	o         Options
	endpoint  string
	client    *container.Client
	transport *http.Transport
	// send is the transport, or what a test puts before it.
	send http.RoundTripper
	log  *zap.Logger
}

var _ bundle.Repository = (*Repository)(nil)

// Sizes of the protocol and of our use of it.
const (
	defaultBlock = 8 << 20
	// maxBlocks is the protocol's limit less a reserve.
	maxBlocks = 45000
	// atOnce is how many requests one call has under way.
	atOnce = 4
)

// Open returns the repository without connecting to the server.
func Open(o Options) (*Repository, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.BlockSize == 0 {
		o.BlockSize = defaultBlock
	}
	if o.Account == "" {
		return nil, errors.New("repo.azure.account is missing")
	}
	if o.Container == "" {
		return nil, errors.New("repo.azure.container is missing")
	}
	r := &Repository{o: o, endpoint: strings.TrimRight(o.Endpoint, "/"), transport: objectstore.NewTransport(o.Roots), log: o.Log}
	r.send = r.transport
	if r.endpoint == "" {
		r.endpoint = "https://" + o.Account + ".blob.core.windows.net"
	}
	if err := r.connect(r.endpoint + "/" + o.Container); err != nil {
		return nil, err
	}
	return r, nil
}

// Close releases the connections. Nothing may be under way.
func (r *Repository) Close() error {
	r.transport.CloseIdleConnections()
	return nil
}

// do carries a step out within the policy.
func (r *Repository) do(ctx context.Context, step func(ctx context.Context, moved func()) error) error {
	return r.o.Policy.Do(ctx, transient, step)
}

func (r *Repository) blob(name string) *blockblob.Client { return r.client.NewBlockBlobClient(name) }

// object is what the server says of a blob.
type object struct {
	objectstore.Stored
	etag     azcore.ETag
	size     int64
	modified time.Time
}

// head asks for a blob that has bytes. ErrNotFound if there is none.
func (r *Repository) head(ctx context.Context, name string) (o object, err error) {
	o, err = r.headAny(ctx, name)
	if err == nil && o.size == 0 {
		err = bundle.ErrNotFound
	}
	return o, err
}

// headAny asks for a blob, be it empty.
func (r *Repository) headAny(ctx context.Context, name string) (o object, err error) {
	err = r.do(ctx, func(ctx context.Context, _ func()) error {
		p, err := r.blob(name).GetProperties(ctx, nil)
		if err == nil {
			o = object{Stored: decode(name, p.Metadata), etag: value(p.ETag), size: value(p.ContentLength), modified: value(p.LastModified).UTC()}
		}
		return err
	})
	if isMissing(err) {
		err = bundle.ErrNotFound
	}
	return o, err
}

// value returns what p points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func decode(name string, metadata map[string]*string) objectstore.Stored {
	members := make(map[string]string, len(metadata))
	for key, text := range metadata {
		members[key] = value(text)
	}
	return objectstore.Decode(name, members)
}

func encode(s objectstore.Stored) map[string]*string {
	metadata := map[string]*string{}
	for key, text := range s.Encode() {
		metadata[key] = &text
	}
	return metadata
}

// matches is the condition that a blob is still the version that was seen.
func matches(etag azcore.ETag) *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &etag}}
}

// Check returns what keeps the container from being used, with the keys to look at. It changes nothing.
func (r *Repository) Check(ctx context.Context) error {
	return r.explain(r.do(ctx, func(ctx context.Context, _ func()) error {
		one := int32(1)
		_, err := r.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: &one}).NextPage(ctx)
		return err
	}))
}

// Stat is part of [bundle.Repository].
func (r *Repository) Stat(ctx context.Context, name string) (bundle.Entry, error) {
	if err := objectstore.CheckName(name); err != nil {
		return bundle.Entry{}, err
	}
	o, err := r.head(ctx, name)
	if err != nil {
		return bundle.Entry{}, fmt.Errorf("open bundle %s: %w", name, r.explain(err))
	}
	return bundle.Entry{Name: name, Meta: o.Meta, Size: o.size, Modified: o.modified}, nil
}

// Open is part of [bundle.Repository]. What is read is one version, over breaks of the connection too; if that is gone,
// the rest is an [objectstore.ErrChanged].
func (r *Repository) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, bundle.Meta, error) {
	if err := objectstore.CheckName(name); err != nil {
		return nil, bundle.Meta{}, err
	}
	for again := 0; ; again++ {
		o, err := r.head(ctx, name)
		if err != nil {
			return nil, bundle.Meta{}, fmt.Errorf("open bundle %s: %w", name, r.explain(err))
		}
		reader := objectstore.NewReader(ctx, objectstore.ReaderOptions{
			Policy: r.o.Policy, Transient: transient, Offset: offset, Size: o.size, Source: r.source(name, o),
			Explain: func(err error) error { return fmt.Errorf("read bundle %s: %w", name, r.explain(err)) },
		})
		if err = reader.Connect(); err == nil {
			return reader, o.Meta, nil
		}
		_ = reader.Close()
		if !errors.Is(err, objectstore.ErrChanged) || again == 3 { // replaced between the two requests
			return nil, bundle.Meta{}, fmt.Errorf("open bundle %s: %w", name, r.explain(err))
		}
	}
}

// source returns the bytes of one version. Another ETag is the same version if the bytes came with the same upload.
func (r *Repository) source(name string, o object) objectstore.Source {
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		for {
			get, err := r.blob(name).DownloadStream(ctx, &blob.DownloadStreamOptions{
				Range: blob.HTTPRange{Offset: offset, Count: o.size - offset}, AccessConditions: matches(o.etag),
			})
			if status := statusOf(err); status != http.StatusPreconditionFailed && !isMissing(err) {
				return get.Body, err
			}
			now, err := r.head(ctx, name)
			switch {
			case errors.Is(err, bundle.ErrNotFound):
				return nil, objectstore.ErrChanged
			case err != nil:
				return nil, err
			case now.etag == o.etag || now.Upload == "" || now.Upload != o.Upload || now.size != o.size:
				return nil, objectstore.ErrChanged
			}
			o = now
		}
	}
}

// SetMeta is part of [bundle.Repository].
func (r *Repository) SetMeta(ctx context.Context, name string, meta bundle.Meta) error {
	if err := objectstore.CheckName(name); err != nil {
		return err
	}
	for again := 0; ; again++ {
		o, err := r.head(ctx, name)
		if err == nil {
			o.Meta = meta
			err = r.do(ctx, func(ctx context.Context, _ func()) error {
				_, err := r.blob(name).SetMetadata(ctx, encode(o.Stored), &blob.SetMetadataOptions{AccessConditions: matches(o.etag)})
				return err
			})
		}
		switch {
		case err == nil:
			return nil
		case statusOf(err) == http.StatusPreconditionFailed && again < 3:
			continue // replaced between the two requests, or an answer was lost
		case isMissing(err):
			err = bundle.ErrNotFound // removed between the two requests
		}
		return fmt.Errorf("describe bundle %s: %w", name, r.explain(err))
	}
}

// Remove is part of [bundle.Repository].
func (r *Repository) Remove(ctx context.Context, name string) error {
	if err := objectstore.CheckName(name); err != nil {
		return err
	}
	_, err := r.head(ctx, name)
	if err == nil {
		snapshots := blob.DeleteSnapshotsOptionTypeInclude // without, a blob that has some stays
		err = r.do(ctx, func(ctx context.Context, _ func()) error {
			_, err := r.blob(name).Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: &snapshots})
			return err
		})
		if isMissing(err) {
			err = nil // an answer was lost
		}
	}
	if err != nil {
		return fmt.Errorf("remove bundle %s: %w", name, r.explain(err))
	}
	return nil
}

// List is part of [bundle.Repository]. Blobs with names that no bundle can have are left out.
func (r *Repository) List(ctx context.Context) ([]bundle.Entry, error) {
	var list []bundle.Entry
	pages := r.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Metadata: true}})
	for pages.More() {
		err := r.do(ctx, func(ctx context.Context, _ func()) error {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, item := range page.Segment.BlobItems {
				if e, ok := entry(item); ok {
					list = append(list, e)
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list bundles: %w", r.explain(err))
		}
	}
	slices.SortFunc(list, func(a, b bundle.Entry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// entry tells whether a blob in a list is a bundle, and describes it.
func entry(item *container.BlobItem) (bundle.Entry, bool) {
	name, p := value(item.Name), item.Properties
	if p == nil || value(p.ContentLength) == 0 || !objectstore.IsName(name) {
		return bundle.Entry{}, false
	}
	return bundle.Entry{
		Name: name, Meta: decode(name, item.Metadata).Meta, Size: value(p.ContentLength), Modified: value(p.LastModified).UTC(),
	}, true
}
