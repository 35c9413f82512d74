package test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/api"
	"statiko/state"
)

// TestCrash_KilledAtAnyMoment kills a node again and again while clients add, change and remove sites, upload bundles
// and deploy them. After each start: the state is whole, what was acknowledged is there, what was not is there wholly
// or not at all, and what is served are whole bundles.
func TestCrash_KilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds := 25
	if soak() {
		rounds = 100
	}
	n := newNode(t)
	w := &crashWorld{node: n, sites: map[string]*crashSite{}, apps: map[string]*crashApp{}}
	n.start(t)
	for round := range rounds {
		w.disturb(t, time.Duration(rand.Int64N(int64(1200*time.Millisecond))))
		if err := n.clean(); err != nil {
			t.Fatal(err)
		}
		w.stateFileIsWhole(t)
		n.start(t)
		w.check(t, round)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	if w.counts.sites == 0 || w.counts.uploads == 0 || w.counts.deploys == 0 || w.counts.cut == 0 {
		t.Error("the clients did not get through, so that nothing was shown")
	}
	t.Logf("%d kills; acknowledged: %d changes of sites, %d uploads, %d deploys; cut off: %d, of which %d were made",
		rounds, w.counts.sites, w.counts.uploads, w.counts.deploys, w.counts.cut, w.counts.cutAndMade)
}

// crashSite is what is known of one site.
type crashSite struct {
	// now is what was acknowledged last; pending is what was sent after it without an answer. Nil means that
	// there is no site.
	now, pending *crashValue
	cut          bool
}

// crashValue is what clients set on a site.
type crashValue struct{ alias, app string }

// crashApp is one bundle.
type crashApp struct {
	files   map[string][]byte
	archive []byte
	// there: it was acknowledged, and nobody removed it. cut: its upload or removal had no answer.
	there, cut bool
}

// crashWorld is what the clients of a node know.
type crashWorld struct {
	node  *node
	mu    sync.Mutex
	sites map[string]*crashSite
	apps  map[string]*crashApp
	next  int

	counts struct{ sites, uploads, deploys, cut, cutAndMade int }
}

// disturb lets clients work, and kills the node after d.
func (w *crashWorld) disturb(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var clients sync.WaitGroup
	for i := range 3 {
		clients.Go(func() { w.changeSites(ctx, t, fmt.Sprintf("w%d", i)) })
	}
	for i := range 2 {
		clients.Go(func() { w.deploy(ctx, t, fmt.Sprintf("d%d.example.org", i)) })
	}
	clients.Go(func() { w.look(ctx, t) })
	timer := time.NewTimer(d)
	<-timer.C
	w.node.kill()
	cancel()
	clients.Wait()
}

// answered tells whether a call was; the client ends with its first one that was not. An error of the node itself
// fails the test: nothing here may be refused.
func answered(t *testing.T, err error) bool {
	if err == nil {
		return true
	}
	if refused, ok := errors.AsType[*api.Error](err); ok && refused.Code != api.CodeUnknown {
		t.Errorf("refused: %v", err)
	}
	return false
}

// set makes one change of a site, and keeps what is known.
func (w *crashWorld) set(t *testing.T, domain string, to *crashValue, count *int, call func() error) bool {
	w.mu.Lock()
	s := w.sites[domain]
	if s == nil {
		s = &crashSite{}
		w.sites[domain] = s
	}
	s.pending, s.cut = to, true
	w.mu.Unlock()
	ok := answered(t, call())
	w.mu.Lock()
	defer w.mu.Unlock()
	if ok {
		s.now, s.pending, s.cut = to, nil, false
		*count++
	} else {
		w.counts.cut++
	}
	return ok
}

func (w *crashWorld) value(domain string) *crashValue {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sites[domain]; s != nil {
		return s.now
	}
	return nil
}

func (w *crashWorld) number() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	return w.next
}

// changeSites adds, changes and removes its own sites.
func (w *crashWorld) changeSites(ctx context.Context, t *testing.T, who string) {
	c := w.node.client()
	defer c.Close()
	for ok := true; ok; {
		domain := fmt.Sprintf("%s-%d.example.org", who, rand.IntN(12))
		switch v := w.value(domain); {
		case v == nil:
			alias := fmt.Sprintf("a%d.example.org", w.number())
			ok = w.set(t, domain, &crashValue{alias: alias}, &w.counts.sites, func() error {
				_, err := c.CreateSite(ctx, api.SiteCreate{Domain: domain, Aliases: []string{alias}})
				return err
			})
		case rand.IntN(2) == 0:
			alias := fmt.Sprintf("a%d.example.org", w.number())
			ok = w.set(t, domain, &crashValue{alias: alias}, &w.counts.sites, func() error {
				_, err := c.ChangeSite(ctx, domain, api.SiteChange{Aliases: &[]string{alias}})
				return err
			})
		default:
			ok = w.set(t, domain, nil, &w.counts.sites, func() error { return c.DeleteSite(ctx, domain) })
		}
	}
}

// deploy uploads bundles and deploys them on its site, and removes older ones.
func (w *crashWorld) deploy(ctx context.Context, t *testing.T, domain string) {
	c := w.node.client()
	defer c.Close()
	if w.value(domain) == nil && !w.set(t, domain, &crashValue{}, &w.counts.sites, func() error {
		_, err := c.CreateSite(ctx, api.SiteCreate{Domain: domain})
		return err
	}) {
		return
	}
	for {
		name := fmt.Sprintf("v-%d", w.number())
		app := &crashApp{files: crashFiles(name), cut: true}
		app.archive = zipOf(t, app.files)
		w.mu.Lock()
		w.apps[name] = app
		w.mu.Unlock()
		if !w.settle(t, app, c.UploadApp(ctx, name, "zip", strings.NewReader(string(app.archive)), nil), true) {
			return
		}
		before := w.value(domain).app
		if !w.set(t, domain, &crashValue{app: name}, &w.counts.deploys, func() error { return c.Deploy(ctx, domain, name) }) {
			return
		}
		if before == "" {
			continue
		}
		w.mu.Lock()
		old := w.apps[before]
		old.cut = true
		w.mu.Unlock()
		if !w.settle(t, old, c.DeleteApp(ctx, before), false) {
			return
		}
	}
}

// settle keeps what is known of a bundle after it was uploaded or removed.
func (w *crashWorld) settle(t *testing.T, app *crashApp, err error, there bool) bool {
	ok := answered(t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if ok {
		app.there, app.cut = there, false
		w.counts.uploads++
	} else {
		w.counts.cut++
	}
	return ok
}

// crashFiles returns the files of a bundle; each tells in every line whose it is.
func crashFiles(name string) map[string][]byte {
	files := map[string][]byte{}
	for i := range 20 {
		// What is compressed when it is staged is small, so that uploads end before the node is killed.
		size, kind := 5, "txt"
		if i%5 == 0 {
			size, kind = 1000, "bin"
		}
		line := fmt.Sprintf("%s file %d %x\n", name, i, sha256.Sum256([]byte(name)))
		files[fmt.Sprintf("dir-%d/file-%d.%s", i%4, i, kind)] = []byte(strings.Repeat(line, size))
	}
	return files
}

// look visits the sites that have bundles until ctx ends: what is served is always a whole file of some bundle.
func (w *crashWorld) look(ctx context.Context, t *testing.T) {
	v := newVisitor(w.node)
	defer v.close()
	for ctx.Err() == nil {
		p, err := v.get(fmt.Sprintf("https://d%d.example.org/dir-0/file-0.bin", rand.IntN(2)))
		if err == nil && p.status == 200 {
			w.isWhole(t, "dir-0/file-0.bin", p.body)
		}
	}
}

// isWhole returns the bundle that a body is the file of; it fails the test if there is none.
func (w *crashWorld) isWhole(t *testing.T, file string, body []byte) string {
	t.Helper()
	name, _, _ := strings.Cut(string(body), " ")
	w.mu.Lock()
	defer w.mu.Unlock()
	if app := w.apps[name]; app == nil || string(app.files[file]) != string(body) {
		t.Errorf("%s: %d bytes that no bundle has: %.60q…", file, len(body), body)
	}
	return name
}

// stateFileIsWhole reads the document as the crash left it.
func (w *crashWorld) stateFileIsWhole(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(w.node.settings["state.file.path"])
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
	c := w.node.client()
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
	v := newVisitor(w.node)
	defer v.close()
	for i := range 2 {
		if p, err := v.get(fmt.Sprintf("https://d%d.example.org/dir-1/file-1.txt", i)); err == nil && p.status == 200 {
			w.isWhole(t, "dir-1/file-1.txt", p.body)
		}
	}
	if err := w.node.settled(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		domain := fmt.Sprintf("d%d.example.org", i)
		s := w.sites[domain]
		if s == nil || s.now == nil || s.now.app == "" {
			continue
		}
		for file, want := range w.apps[s.now.app].files {
			p, err := v.get("https://" + domain + "/" + file)
			if err != nil || p.status != 200 || string(p.body) != string(want) {
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
// archive that was complete is listed again, and the other way round.
func (w *crashWorld) checkRepository(t *testing.T, c *api.Client) {
	t.Helper()
	err := poll(10*time.Second, "what was cut off is cleared away or listed", func() error {
		odd, err := filepath.Glob(filepath.Join(w.node.settings["appRoot"], "uploads", "*"))
		if err != nil {
			return final{err}
		}
		apps, err := c.Apps(context.Background())
		if err != nil {
			return final{err}
		}
		listed := map[string]bool{}
		for _, a := range apps {
			listed[a.Name] = true
		}
		entries, err := os.ReadDir(w.node.settings["repo.local.path"])
		if err != nil {
			return final{err}
		}
		for _, e := range entries {
			// Metadata without an archive stays for an hour: it may be of another process's upload.
			if !listed[e.Name()] && !strings.HasPrefix(e.Name(), ".metadata.") {
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
