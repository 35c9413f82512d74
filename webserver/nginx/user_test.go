package nginx

import (
	"os"
	"os/user"
	"path/filepath"
	"testing"

	"statiko/bundle"
)

// Workers of another user can read what they serve and the keys, reach the node's socket, and nobody else can: the node
// runs as root and the workers as www-data, as on most servers.
func TestUser_WorkersAreAnother(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can start workers of another user")
	}
	if _, err := user.Lookup("www-data"); err != nil {
		t.Skip(err)
	}
	dir := folder(t)
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	opt := complete(t, Options{Dir: dir})
	opt.User = "www-data"
	opt.NodeHandler = handler("node")
	s := launch(t, opt)
	root := filepath.Join(filepath.Dir(dir), "bundle")
	for name, text := range map[string]string{"index.html": "page", "x.txt": "text"} {
		path := filepath.Join(root, bundle.FilesDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	site := newSite(t, "a.test")
	site.Root, site.Version = root, "v"
	apply(t, s, site, newSite(t, "empty.test"))
	wantBody(t, s, "a.test", "/", "page")
	if status, _, err := get(s, "empty.test", "/"); err != nil || status != 200 {
		t.Errorf("a site without a bundle: %d %v", status, err)
	}
	wantBody(t, s, "a.test", "/.well-known/acme-challenge/tok", "node")
	u, err := user.Lookup("www-data")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for pid := range workers(masterOf(t, s)) {
		found = true
		if owner := ownerOf(t, pid); owner != u.Uid {
			t.Errorf("worker %d runs as %s, want %s", pid, owner, u.Uid)
		}
	}
	if !found {
		t.Error("there are no workers")
	}
	if _, err := findOwner("nobody-who-is-not-there"); err == nil {
		t.Error("a user that does not exist is taken")
	}
}
