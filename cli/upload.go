package cli

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/bundle"
	"statiko/state"
)

// upload is one bundle to be sent.
type upload struct {
	name, path, signingKey string
	// all keeps what is left out otherwise.
	all bool
}

func (a *app) uploadCommand() *cobra.Command {
	var u upload
	cmd := appFlag(&cobra.Command{
		Use: "upload", Short: "Upload an app bundle: a folder, or an archive",
		Long: `Uploads a folder or an archive as an app bundle.

A folder is packed as it is sent, so that the same files always make the same archive. Left out, and named, are what
version control, editors and operating systems leave behind, and files named .env; --all keeps them. Symbolic links are
packed as what they point to, which must be inside of the folder.

An archive is sent as it is. Its type is told from its name:
` + strings.Join(bundle.Types(), ", ") + `.`,
		Example: "  stkcli app upload --app docs-42 --path ./public\n  stkcli app upload --app docs-42 --path docs.zip --signing-key codesign.key",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.upload(cmd.Context(), u) },
	}, &u.name)
	f := cmd.Flags()
	f.StringVarP(&u.path, "path", "f", "", "folder or archive to upload")
	f.StringVarP(&u.signingKey, "signing-key", "s", "", "sign the bundle with this RSA key: a PEM file, or the PEM text itself")
	f.BoolVar(&u.all, "all", false, "leave nothing of the folder out")
	_ = cmd.MarkFlagRequired("path")
	return cmd
}

// uploaded is what is printed after an upload.
type uploaded struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Signature string `json:"signature,omitempty"`
}

// upload reads and checks everything before it sends anything: name, path, what a folder holds, signing key.
func (a *app) upload(ctx context.Context, u upload) error {
	name, err := checkName(state.CheckAppName, "--app", u.name)
	if err != nil {
		return err
	}
	sign, err := loadSigner(u.signingKey)
	if err != nil {
		return err
	}
	archive, err := a.openArchive(u)
	if err != nil {
		return err
	}
	if sign != nil && sign.bits() != 4096 {
		a.warn("the signing key has %d bits; nodes of the earlier program take only signatures of 4096-bit keys, and others for none", sign.bits())
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()

	progress, done := a.progress(archive.total)
	content, err := archive.open(progress)
	if err != nil {
		return err
	}
	digest, sent := sha256.New(), &counter{}
	// The first request is not the one to wait for: the bundle is complete only with the second.
	err = c.UploadApp(ctx, name, archive.typ, io.TeeReader(content, io.MultiWriter(digest, sent)), nil)
	content.Close()
	done()
	if err != nil {
		if f, ok := errors.AsType[*failure](err); ok {
			return f // of reading here
		}
		return a.nodeError(err, "upload %s", name)
	}
	sum := digest.Sum(nil)
	result := uploaded{Name: name, Type: archive.typ, Size: sent.n, SHA256: hex.EncodeToString(sum)}
	if sign != nil {
		if result.Signature, err = sign.sign(sum); err != nil {
			return err
		}
	}
	metadata := api.AppMetadata{Signature: result.Signature, Hash: base64.StdEncoding.EncodeToString(sum)}
	waiting := a.change(ctx, c, "", "store the checksum and signature of "+name+", which is uploaded but not complete", func(o ...api.CallOption) error {
		return c.SetAppMetadata(ctx, name, metadata, o...)
	})
	if f, ok := errors.AsType[*failure](waiting); ok && f.code != ExitNotApplied {
		if f.hint == "" {
			f.hint = fmt.Sprintf("stkcli app remove --app %s removes it; then upload again", name)
		}
		return f
	}
	err = a.print(result, func(t *table) {
		t.row("Uploaded", fmt.Sprintf("%s (%s)", size(result.Size), result.Type))
		t.row("SHA256", result.SHA256)
		signed := "none"
		if sign != nil {
			signed = fmt.Sprintf("RSA-%d", sign.bits())
		}
		t.row("Signature", signed)
		t.row("Done", name)
	})
	if err != nil {
		return err
	}
	return waiting
}

// counter counts the bytes written to it.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// archive is what is going to be sent.
type archive struct {
	typ string
	// total is how many bytes are going to be read to make it.
	total int64
	// open begins to read; progress is called with the bytes read since the last time. The result must be closed.
	open func(progress func(int)) (io.ReadCloser, error)
}

func (a *app) openArchive(u upload) (*archive, error) {
	info, err := os.Stat(u.path)
	if err != nil {
		return nil, userError("--path: %v", err)
	}
	if !info.IsDir() {
		typ, ok := bundle.TypeOfFile(filepath.Base(u.path))
		if !ok {
			return nil, userError("%s is neither a folder nor an archive of a known type", u.path).
				withHint("known types are %s", strings.Join(bundle.Types(), ", "))
		}
		if !info.Mode().IsRegular() {
			return nil, userError("%s is no regular file", u.path)
		}
		if info.Size() == 0 {
			return nil, userError("%s is empty", u.path)
		}
		open := func(progress func(int)) (io.ReadCloser, error) {
			f, err := os.Open(u.path)
			if err != nil {
				return nil, localError(err, "could not read the archive")
			}
			return readCloser{&localReader{f, progress}, f}, nil
		}
		return &archive{typ: typ, total: info.Size(), open: open}, nil
	}
	tree, err := scanFolder(u.path, u.all)
	if err != nil {
		return nil, err
	}
	if len(tree.leftOut) > 0 {
		shown := tree.leftOut
		more := ""
		if len(shown) > 10 && !a.flags.verbose {
			more = fmt.Sprintf(" and %d more", len(shown)-10)
			shown = shown[:10]
		}
		fmt.Fprintf(a.Stderr, "left out: %s%s (--all keeps them)\n", strings.Join(shown, ", "), more)
	}
	if a.flags.verbose {
		for _, e := range tree.entries {
			fmt.Fprintln(a.Stderr, e.name)
		}
	}
	return &archive{typ: packedType, total: tree.size, open: func(progress func(int)) (io.ReadCloser, error) {
		return tree.pack(progress), nil
	}}, nil
}

// readCloser reads from one and closes another.
type readCloser struct {
	io.Reader
	io.Closer
}

// localReader makes errors of reading a file of this machine known as such.
type localReader struct {
	f        *os.File
	progress func(int)
}

func (r *localReader) Read(b []byte) (int, error) {
	n, err := r.f.Read(b)
	r.progress(n)
	if err != nil && err != io.EOF {
		err = localError(err, "could not read the archive")
	}
	return n, err
}

// progress returns what to call with every number of bytes read, and what to call in the end. There is a bar only
// on a terminal.
func (a *app) progress(total int64) (add func(int), done func()) {
	if !a.StderrTerminal || a.flags.output != outputTable {
		return func(int) {}, func() {}
	}
	bar := progressbar.NewOptions64(max(total, 1),
		progressbar.OptionSetWriter(a.Stderr), progressbar.OptionSetDescription("uploading"),
		progressbar.OptionShowBytes(true), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionUseIECUnits(true))
	// What the bar cannot write is no reason to stop.
	return func(n int) { _ = bar.Add(n) }, func() { _ = bar.Finish(); _ = bar.Close() }
}
