package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/state"
)

// download is a bundle to be fetched.
type download struct {
	name, out string
	force     bool
}

func (a *app) downloadCommand() *cobra.Command {
	var d download
	cmd := appFlag(&cobra.Command{
		Use: "download", Short: "Download an app bundle's archive as it was uploaded",
		Long: `Downloads an app bundle's archive, byte for byte as it was uploaded, and compares its SHA-256 with the one that the
cluster's state has. The file is there only when both are the same; one that exists is not replaced without --force.`,
		Example: "  stkcli app download --app docs-42 --out docs-42.tar.gz\n  stkcli app download --app docs-42 --out - | tar -tz",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.download(cmd.Context(), d) },
	}, &d.name)
	f := cmd.Flags()
	f.StringVarP(&d.out, "out", "o", "", `file to write, "-" for standard output; the bundle's name and type in this folder without it`)
	f.BoolVar(&d.force, "force", false, "replace a file that exists")
	return cmd
}

// downloaded is what is printed after a download.
type downloaded struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func (a *app) download(ctx context.Context, d download) error {
	name, err := checkName(state.CheckAppName, "--app", d.name)
	if err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	app, err := a.findApp(ctx, c, name)
	if err != nil {
		return err
	}
	if d.out == "-" {
		return a.fetch(ctx, c, app, a.Stdout, "standard output")
	}
	if d.out == "" {
		d.out = app.Name + "." + app.Type
	}
	fetch := func(w io.Writer) error { return a.fetch(ctx, c, app, w, d.out) }
	if d.force {
		err = writeFile(d.out, fetch)
	} else {
		err = createFile(d.out, fetch)
	}
	if errors.Is(err, fs.ErrExist) {
		return userError("%s is there already; nothing was changed", d.out).withHint("--force replaces it, --out names another file")
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if err != nil {
		return localError(err, "could not write %s", d.out)
	}
	return a.print(downloaded{Name: app.Name, File: d.out, Size: app.Size, SHA256: app.SHA256}, func(t *table) {
		t.row("Downloaded", fmt.Sprintf("%s (%s)", d.out, size(app.Size)))
		t.row("SHA256", detail(app.SHA256, "verified"))
	})
}

// findApp returns what the state has of a bundle, with its digest.
func (a *app) findApp(ctx context.Context, c *api.Client, name string) (*api.App, error) {
	apps, err := c.Apps(ctx)
	if err != nil {
		return nil, a.nodeError(err, "list the app bundles")
	}
	i := slices.IndexFunc(apps, func(x api.App) bool { return x.Name == name })
	if i < 0 {
		return nil, &failure{code: ExitNode, message: "there is no app bundle " + name, hint: "stkcli app list shows those there are"}
	}
	if !told(apps[i]) {
		return nil, &failure{code: ExitNode, message: "the node does not say which SHA-256 " + name + " has",
			hint: "nodes of the earlier program do not know it; ask another one with --node"}
	}
	return &apps[i], nil
}

// fetch writes a bundle's archive to w, which errors call out, and verifies it.
func (a *app) fetch(ctx context.Context, c *api.Client, app *api.App, w io.Writer, out string) error {
	body, _, err := c.DownloadApp(ctx, app.Name)
	if err != nil {
		return a.nodeError(err, "download %s", app.Name)
	}
	defer body.Close()
	progress, done := a.progress("downloading", app.Size)
	defer done()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(w, sum), countingReader{nodeReader{body}, progress})
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if err != nil {
		return localError(err, "could not write to %s", out)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != app.SHA256 {
		return &failure{code: ExitNode, message: fmt.Sprintf("what the node sent of %s is not what was uploaded", app.Name),
			cause: fmt.Errorf("its SHA-256 is %s, and should be %s", got, app.SHA256), hint: "try again, or another node with --node"}
	}
	return nil
}

// nodeReader makes errors of reading an answer known as the node's.
type nodeReader struct{ r io.Reader }

func (n nodeReader) Read(b []byte) (int, error) {
	k, err := n.r.Read(b)
	if err != nil && err != io.EOF {
		err = &failure{code: ExitNode, message: "the download was broken off", cause: err, hint: "run the command again"}
	}
	return k, err
}

// createFile is writeFile for a file that must not be there: [fs.ErrExist] if it is, before anything is written or
// after, and then it stays as it is.
func createFile(path string, write func(io.Writer) error) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	// What is being written has another name until it is whole.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	temporary := f.Name()
	_ = f.Close()
	// A leftover is hidden and says what it was.
	defer func() { _ = os.Remove(temporary) }()
	if err := writeFile(temporary, write); err != nil {
		return err
	}
	if err := os.Link(temporary, path); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without hard links.
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	return os.Rename(temporary, path)
}
