package test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// TestCrash_KilledAtAnyMoment kills a node again and again while clients add, change and remove sites, upload bundles
// and deploy them. After each start: the state is whole, what was acknowledged is there, what was not is there wholly
// or not at all, and what is served are whole bundles.
func TestCrash_KilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds, most := 20, 700*time.Millisecond
	if soak() {
		rounds, most = 100, 1200*time.Millisecond
	}
	bin := builtFast(t) // more comes between two kills than with the race detector, which the long form has
	if soak() {
		bin = built(t)
	}
	n := cluster.NewNode(t, bin, "repo.keepVersions=1") // what is no longer deployed can be removed
	w := &crashWorld{node: n, sites: map[string]*crashSite{}, apps: map[string]*crashApp{}}
	n.Start(t)
	for round := range rounds {
		w.disturb(t, round%4 == 0, rand.N(most))
		if err := n.Clean(); err != nil {
			t.Fatal(err)
		}
		w.stateFileIsWhole(t)
		n.Start(t)
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
	// there: it was acknowledged, and nobody removed it. cut: its upload or removal had no answer. removal: somebody
	// tried to remove it.
	there, cut, removal bool
}

// crashWorld is what the clients of a node know.
type crashWorld struct {
	node  *cluster.Node
	mu    sync.Mutex
	sites map[string]*crashSite
	apps  map[string]*crashApp
	next  int

	counts struct{ sites, uploads, deploys, cut, cutAndMade int }
}

// disturb lets clients work, and kills the node after d; if a deploy is wanted, after the next one and d.
func (w *crashWorld) disturb(t *testing.T, deploy bool, d time.Duration) {
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
	before := w.deploys()
	err := cluster.Poll(cluster.StartTimeout, "a deploy", func() error {
		if deploy && w.deploys() == before {
			return errors.New("none is acknowledged")
		}
		return nil
	})
	cluster.Until(time.Now().Add(d))
	w.node.Kill()
	cancel()
	clients.Wait()
	cluster.Must(t, err)
}

func (w *crashWorld) deploys() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts.deploys
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
	c := w.node.Client()
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
	c := w.node.Client()
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
		app.archive = cluster.Zip(app.files)
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
		old.cut, old.removal = true, true
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
	v := cluster.NewVisitor(w.node)
	defer v.Close()
	for ctx.Err() == nil {
		p, err := v.Get(fmt.Sprintf("https://d%d.example.org/dir-0/file-0.bin", rand.IntN(2)))
		if err == nil && p.Status == 200 {
			w.isWhole(t, "dir-0/file-0.bin", p.Body)
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
