package reconcile

import (
	"fmt"

	"statiko/bundle"
	"statiko/state"
)

// content is a bundle as it is served. It is immutable.
type content struct {
	app      string
	sha256   string
	uploaded int64
	root     string
	manifest *bundle.Manifest
}

// load returns a bundle that is unpacked on this node, with its manifest.
func (r *Reconciler) load(app *state.App) (*content, error) {
	staged, ok := r.Bundles.Ready(app)
	if !ok {
		return nil, fmt.Errorf("the bundle %q is not unpacked", app.Name)
	}
	r.mu.Lock()
	c, ok := r.contents[app.SHA256]
	r.mu.Unlock()
	if ok && c.uploaded == app.Uploaded.Unix() && c.app == app.Name {
		return c, nil
	}
	c, err := r.read(app.Name, staged)
	if err == nil {
		r.mark(func() { r.contents[app.SHA256] = c })
	}
	return c, err
}

// read makes content of an unpacked bundle.
func (r *Reconciler) read(name string, staged *bundle.Staged) (*content, error) {
	manifest, err := staged.Manifest(r.ManifestFile)
	if err != nil {
		return nil, err
	}
	if err := manifest.CheckProxies(r.AllowProxy); err != nil {
		return nil, err
	}
	return &content{
		app: name, sha256: staged.SHA256, uploaded: staged.Modified.Unix(), root: staged.Root, manifest: manifest,
	}, nil
}

// lastGood returns what a site served well before this process started.
func (r *Reconciler) lastGood(domain string) (*content, error) {
	rec, ok := r.records.get(domain)
	if !ok {
		return nil, fmt.Errorf("nothing was served before")
	}
	staged, ok := r.Bundles.Kept(rec.SHA256)
	if !ok {
		return nil, fmt.Errorf("the bundle that was served before is gone")
	}
	return r.read(rec.App, staged)
}

// stagedNow tells a plan how a bundle is on this node.
func (r *Reconciler) stagedNow(app *state.App) Staged {
	if _, ok := r.Bundles.Ready(app); ok {
		_, err := r.load(app)
		return Staged{Ready: err == nil, Err: err}
	}
	return Staged{Err: r.stager.failure(app)}
}
