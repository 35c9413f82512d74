package test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/state"
	"statiko/test/cluster"
)

// stateFileIsWhole reads the document as the crash left it.
func (w *crashWorld) stateFileIsWhole(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(w.node.Settings["state.file.path"])
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(data) {
		t.Fatalf("the state file is no JSON:\n%.2000s", data)
	}
}

// check compares the node after a start with what its clients know.
func (w *crashWorld) check(t *testing.T, round int) {
	t.Helper()
	ctx := context.Background()
	c := w.node.Client()
	defer c.Close()
	sites, err := c.Sites(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*crashValue{}
	for _, s := range sites {
		v := &crashValue{}
		if len(s.Aliases) > 0 {
			v.alias = s.Aliases[0]
		}
		if s.App != nil {
			v.app = s.App.Name
		}
		found[s.Domain] = v
		if w.sites[s.Domain] == nil {
			t.Errorf("a site that nobody added: %s", s.Domain)
		}
	}
	same := func(a, b *crashValue) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	for domain, s := range w.sites {
		is := found[domain]
		switch {
		case same(is, s.now):
		case s.cut && same(is, s.pending):
			w.counts.cutAndMade++
		default:
			t.Errorf("%s is %+v; acknowledged was %+v, cut off (%t) was %+v", domain, is, s.now, s.cut, s.pending)
		}
		s.now, s.pending, s.cut = is, nil, false
	}
	w.checkRepository(t, c)
	w.checkApps(t, c)
	w.checkServed(t, c)
}

// checkApps compares the list of bundles.
func (w *crashWorld) checkApps(t *testing.T, c *api.Client) {
	t.Helper()
	apps, err := c.Apps(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]api.App{}
	for _, a := range apps {
		listed[a.Name] = a
	}
	for name, app := range w.apps {
		a, there := listed[name]
		delete(listed, name)
		if !app.cut && there != app.there {
			t.Errorf("the bundle %s: there %t, and acknowledged was %t", name, there, app.there)
		}
		if sum := sha256.Sum256(app.archive); there && (a.SHA256 != hex.EncodeToString(sum[:]) || a.Size != int64(len(app.archive))) {
			t.Errorf("the bundle %s is not what was uploaded: %+v", name, a)
		}
		if app.cut && there && !app.there {
			w.counts.cutAndMade++
		}
		app.there, app.cut = there, false
	}
	for name := range listed {
		t.Errorf("a bundle that nobody uploaded: %s", name)
	}
}

// checkServed visits the sites with bundles: at once, when nothing or something whole is served; and when the state
// is applied, when it is the whole of the bundle that was deployed.
func (w *crashWorld) checkServed(t *testing.T, c *api.Client) {
	t.Helper()
	v := cluster.NewVisitor(w.node)
	defer v.Close()
	for i := range 2 {
		if p, err := v.Get(fmt.Sprintf("https://d%d.example.org/dir-1/file-1.txt", i)); err == nil && p.Status == 200 {
			w.isWhole(t, "dir-1/file-1.txt", p.Body)
		}
	}
	if err := w.node.Settled(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		domain := fmt.Sprintf("d%d.example.org", i)
		s := w.sites[domain]
		if s == nil || s.now == nil || s.now.app == "" {
			continue
		}
		for file, want := range w.apps[s.now.app].files {
			p, err := v.Get("https://" + domain + "/" + file)
			if err != nil || p.Status != 200 || string(p.Body) != string(want) {
				t.Fatalf("%s/%s of %s: %v %+v", domain, file, s.now.app, err, p)
			}
		}
	}
	// A bundle that is listed can be deployed: try it with one that no site has.
	for name, app := range w.apps {
		if !app.there || slices.ContainsFunc([]string{"d0.example.org", "d1.example.org"}, func(d string) bool {
			return w.sites[d] != nil && w.sites[d].now != nil && w.sites[d].now.app == name
		}) {
			continue
		}
		const spare = "spare.example.org"
		if _, err := c.CreateSite(context.Background(), api.SiteCreate{Domain: spare}); err != nil && !errors.Is(err, state.ErrExists) {
			t.Fatal(err)
		}
		if err := c.Deploy(context.Background(), spare, name); err != nil {
			t.Errorf("the bundle %s is listed and cannot be deployed: %v", name, err)
		}
		if err := c.DeleteSite(context.Background(), spare); err != nil {
			t.Fatal(err)
		}
		break
	}
}

// checkRepository waits until nothing is left of what was cut off: all that is in the repository is listed, where an
// archive that was complete is listed again, and the other way round; removed bundles aside.
func (w *crashWorld) checkRepository(t *testing.T, c *api.Client) {
	t.Helper()
	err := cluster.Poll(10*time.Second, "what was cut off is cleared away or listed", func() error {
		odd, err := filepath.Glob(filepath.Join(w.node.Settings["appRoot"], "uploads", "*"))
		if err != nil {
			return cluster.NoUse(err)
		}
		apps, err := c.Apps(context.Background())
		if err != nil {
			return cluster.NoUse(err)
		}
		listed := map[string]bool{}
		for _, a := range apps {
			listed[a.Name] = true
		}
		entries, err := os.ReadDir(w.node.Settings["repo.local.path"])
		if err != nil {
			return cluster.NoUse(err)
		}
		for _, e := range entries {
			// Metadata without an archive stays for an hour: it may be of another process's upload. An archive whose
			// removal was cut off after the state's part stays for a day, as one that a restore left over.
			removed := w.apps[e.Name()] != nil && w.apps[e.Name()].removal
			if !listed[e.Name()] && !removed && !strings.HasPrefix(e.Name(), ".metadata.") {
				odd = append(odd, e.Name())
			}
			delete(listed, e.Name())
		}
		for name := range listed {
			odd = append(odd, name+" (has no archive)")
		}
		if len(odd) > 0 {
			return fmt.Errorf("not as it should be: %s", strings.Join(odd, ", "))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
