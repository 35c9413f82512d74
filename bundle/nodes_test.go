package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/filestore"
	"statiko/state"
)

// nodes are Libraries with folders of their own that share one state, and reach each other by calls whose answers can
// be spoiled.
type nodes struct {
	t     *testing.T
	store state.Store
	all   map[string]*Library

	mu sync.Mutex
	// down are the nodes that do not answer.
	down map[string]bool
	// spoil changes what a node sends; nil leaves it.
	spoil func(node string, r io.ReadCloser) io.ReadCloser
	// sent counts the archives that each node was asked for.
	sent map[string]int
}

// newNodes makes nodes with names. Change, if not nil, changes the options of each.
func newNodes(t *testing.T, change func(name string, o *LibraryOptions), names ...string) *nodes {
	t.Helper()
	dir := t.TempDir()
	store, err := filestore.Open(filestore.Options{Path: filepath.Join(dir, "state.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	n := &nodes{t: t, store: store, all: map[string]*Library{}, down: map[string]bool{}, sent: map[string]int{}}
	for _, name := range names {
		home := filepath.Join(dir, name)
		repo, err := OpenLocal(filepath.Join(home, "repo"), nil)
		if err != nil {
			t.Fatal(err)
		}
		stager, err := NewStager(StagerOptions{Dir: filepath.Join(home, "apps")})
		if err != nil {
			t.Fatal(err)
		}
		o := LibraryOptions{
			Store: store, Repository: repo, Stager: stager, SpoolDir: home, MaxUpload: 16 << 20,
			ManifestFile: "_statiko.yaml", Peers: &spoiledPeers{n, name}, Replicas: 2,
		}
		if change != nil {
			change(name, &o)
		}
		n.all[name] = NewLibrary(o)
	}
	return n
}

// spoiledPeers are the other nodes as one sees them.
type spoiledPeers struct {
	n    *nodes
	self string
}

func (p *spoiledPeers) Others() (up []string, members int) {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.n.all)) {
		members++
		if name != p.self && !p.n.down[name] {
			up = append(up, name)
		}
	}
	return up, members
}

func (p *spoiledPeers) Open(ctx context.Context, node string, app *state.App, offset int64) (io.ReadCloser, error) {
	p.n.mu.Lock()
	down, spoil := p.n.down[node], p.n.spoil
	p.n.sent[node]++
	p.n.mu.Unlock()
	if down {
		return nil, errors.New("no route to host")
	}
	f, err := p.n.all[node].Archive(ctx, app.Name, app.SHA256)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	if spoil != nil {
		return spoil(node, f), nil
	}
	return f, nil
}

func (p *spoiledPeers) Offer(ctx context.Context, node string, app *state.App) error {
	p.n.mu.Lock()
	down := p.n.down[node]
	p.n.mu.Unlock()
	if down {
		return errors.New("no route to host")
	}
	return p.n.all[node].Accept(ctx, p.self, app)
}

// site is a bundle's archive with one page and some bytes that no compression makes small.
func (n *nodes) site(page string) []byte {
	n.t.Helper()
	noise := make([]byte, 200_000)
	state := uint32(len(page))
	for i := range noise {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	return buildZip(n.t, item{name: "index.html", content: page}, item{name: "noise.bin", content: string(noise)})
}

func (n *nodes) add(node, name string, archive []byte) (Added, error) {
	n.t.Helper()
	l := n.all[node]
	spool, err := l.Spool(n.t.Context(), bytes.NewReader(archive))
	if err != nil {
		n.t.Fatal(err)
	}
	defer spool.Discard()
	return l.Add(n.t.Context(), spool, name, "zip", "", "")
}

func (n *nodes) mustAdd(node, name string, archive []byte) *state.App {
	n.t.Helper()
	if _, err := n.add(node, name, archive); err != nil {
		n.t.Fatal(err)
	}
	app, ok := n.store.Snapshot().App(name)
	if !ok {
		n.t.Fatalf("%s is not in the state", name)
	}
	return app
}

// archive returns what a node has in its folder; nil for nothing.
func (n *nodes) archive(node, name string) []byte {
	n.t.Helper()
	r, _, err := n.all[node].own().Open(n.t.Context(), name, 0)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		n.t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		n.t.Fatal(err)
	}
	return data
}

// has fails unless the node has just these bytes.
func (n *nodes) has(node, name string, want []byte) {
	n.t.Helper()
	if got := n.archive(node, name); !bytes.Equal(got, want) {
		n.t.Errorf("%s has %d bytes of %s, want %d", node, len(got), name, len(want))
	}
}

// noted fails unless a note of the node has the text.
func (n *nodes) noted(node, text string) {
	n.t.Helper()
	notes := n.all[node].Notes()
	for _, note := range notes {
		if strings.Contains(note.Bundle+": "+note.Text, text) {
			return
		}
	}
	n.t.Errorf("%s notes %v, nothing of %q", node, notes, text)
}

// path is where a node has an archive.
func (n *nodes) path(node, name string) string {
	n.t.Helper()
	path, err := n.all[node].own().(pather).Path(name)
	if err != nil {
		n.t.Fatal(err)
	}
	return path
}

// flip changes one byte of a file.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 1
	// In place, and with its old time, as a disk does it.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// served returns a file of the unpacked bundle.
func served(t *testing.T, s *Staged, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Root, FilesDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAdd_IsDurableOnTwoNodesBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b", "c")
	archive := n.site("hello")
	n.mu.Lock()
	n.down["b"] = true // registered as up a moment ago, or not: the next one is asked
	n.mu.Unlock()
	added, err := n.add("a", "app", archive)
	if err != nil || added.Replicas != (Replicas{2, 2}) {
		t.Fatalf("%+v, %v", added, err)
	}
	n.has("a", "app", archive)
	n.has("c", "app", archive)
	n.has("b", "app", nil)

	app, _ := n.store.Snapshot().App("app")
	n.mu.Lock()
	n.down["b"] = false
	n.mu.Unlock()
	staged, err := n.all["b"].Ensure(t.Context(), app)
	if err != nil || served(t, staged, "index.html") != "hello" {
		t.Fatalf("the third node: %+v, %v", staged, err)
	}
	n.has("b", "app", archive)
	a, err := n.all["a"].Ensure(t.Context(), app)
	if err != nil || !a.Modified.Equal(staged.Modified) || !a.Modified.Equal(app.Uploaded) {
		t.Errorf("the nodes' files are of %v and %v, %v", a.Modified, staged.Modified, err)
	}
}

func TestAdd_FewerNodes(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		n := newNodes(t, func(_ string, o *LibraryOptions) { o.Strict = strict }, "a", "b")
		n.down["b"] = true
		added, err := n.add("a", "app", n.site("x"))
		if added.Replicas != (Replicas{1, 2}) {
			t.Errorf("strict %v: %+v", strict, added)
		}
		_, stored := n.store.Snapshot().App("app")
		if !strict && (err != nil || !stored || n.archive("a", "app") == nil) {
			t.Errorf("stored %v, %v", stored, err)
		}
		if strict && (!errors.Is(err, ErrReplicas) || stored || n.archive("a", "app") != nil) {
			t.Errorf("strict: stored %v, %v; %d bytes are left", stored, err, len(n.archive("a", "app")))
		}
	}
}

// breaking ends with an error after some bytes.
type breaking struct {
	io.ReadCloser
	left int
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("connection reset by peer")
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func TestFetch_GoesOnWhereASourceBrokeOff(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b", "c")
	archive := n.site("x")
	app := n.mustAdd("a", "app", archive) // b has it too
	breaks := 0
	n.spoil = func(_ string, r io.ReadCloser) io.ReadCloser {
		if breaks++; breaks > 5 {
			return r
		}
		return &breaking{r, 20_000}
	}
	if _, err := n.all["c"].Ensure(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	n.has("c", "app", archive)
	if n.sent["a"] < 2 || n.sent["b"] < 2 {
		t.Errorf("asked %v: want both, in turn", n.sent)
	}
}

func TestFetch_GivesUpWithEveryReason(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b", "c")
	app := n.mustAdd("a", "app", n.site("x"))
	n.spoil = func(_ string, r io.ReadCloser) io.ReadCloser { return &breaking{r, 0} }
	_, err := n.all["c"].Ensure(t.Context(), app)
	if err == nil || !strings.Contains(err.Error(), "the node a broke off after 0 of") || !strings.Contains(err.Error(), "the node b broke off") {
		t.Errorf("got %v", err)
	}
	n.down["a"], n.down["b"] = true, true
	if _, err = n.all["c"].Ensure(t.Context(), app); !errors.Is(err, ErrNotFound) {
		t.Errorf("with nobody up: %v", err)
	}
	n.has("c", "app", nil)
}

// flipping changes one byte on the wire.
type flipping struct {
	io.ReadCloser
	at int
}

func (f *flipping) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if f.at >= 0 && f.at < n {
		p[f.at] ^= 1
	}
	f.at -= n
	return n, err
}

func TestFetch_AFlippedByteOnTheWireIsNeverServed(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b", "c")
	archive := n.site("x")
	app := n.mustAdd("a", "app", archive)
	n.spoil = func(node string, r io.ReadCloser) io.ReadCloser {
		if node == "a" {
			return &flipping{r, 100_000}
		}
		return r
	}
	for range 8 { // the order of the sources is random
		if _, err := n.all["c"].Ensure(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		n.has("c", "app", archive)
		if err := errors.Join(n.all["c"].own().Remove(t.Context(), "app"), n.all["c"].Stager.Remove(app.SHA256)); err != nil {
			t.Fatal(err)
		}
	}
	n.noted("c", "app: what came from the node a is not the bundle")

	n.down["b"] = true
	if _, err := n.all["c"].Ensure(t.Context(), app); !errors.Is(err, ErrHashMismatch) {
		t.Errorf("from the bad source only: %v", err)
	}
	n.has("c", "app", nil)
}

func TestEnsure_ADamagedArchiveIsReplacedFromAnotherNode(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b")
	archive := n.site("x")
	app := n.mustAdd("a", "app", archive)
	flip(t, n.path("b", "app"), 1000)
	staged, err := n.all["b"].Ensure(t.Context(), app)
	if err != nil || served(t, staged, "index.html") != "x" {
		t.Fatalf("%v", err)
	}
	n.has("b", "app", archive)
	n.noted("b", "app: this node's archive was damaged, and was replaced")

	// With no other copy, the damaged one stays for whoever can repair it, and nothing of it is unpacked.
	if err := n.all["b"].Stager.Remove(app.SHA256); err != nil {
		t.Fatal(err)
	}
	n.down["a"] = true
	flip(t, n.path("b", "app"), 1000)
	if _, err := n.all["b"].Ensure(t.Context(), app); !errors.Is(err, ErrHashMismatch) {
		t.Errorf("got %v", err)
	}
	if _, ok := n.all["b"].Kept(app.SHA256); ok || len(n.archive("b", "app")) != len(archive) {
		t.Errorf("unpacked %v, %d bytes of the archive are left", ok, len(n.archive("b", "app")))
	}
}

func TestVerify_FlippedBytesOnTheDiskAreFoundAndReplaced(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b")
	archive := n.site("hello")
	app := n.mustAdd("a", "app", archive)
	staged, err := n.all["a"].Ensure(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	n.all["a"].Verify(t.Context())
	if notes := n.all["a"].Notes(); len(notes) != 0 {
		t.Fatalf("nothing is damaged, and it notes %v", notes)
	}
	page := filepath.Join(staged.Root, FilesDir, "index.html")
	flip(t, page, 0)
	flip(t, n.path("a", "app"), 5000)
	open, err := os.Open(page) // as a web server that sends it just now
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	n.all["a"].Verify(t.Context())
	if got := served(t, staged, "index.html"); got != "hello" {
		t.Errorf("the page is %q", got)
	}
	if info, err := os.Stat(page); err != nil || !info.ModTime().Equal(app.Uploaded) {
		t.Errorf("the page is of %v, want %v", info.ModTime(), app.Uploaded)
	}
	n.has("a", "app", archive)
	n.noted("a", "app: its unpacked files were damaged, and were replaced")
	n.noted("a", "app: this node's archive was damaged, and was replaced")
}

// eventually waits for a condition and tells its last reason.
func eventually(t *testing.T, what func() error) {
	t.Helper()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-pause.C {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// run runs a node's keeper until the test, or what is returned, ends it.
func (n *nodes) run(node string) (stop func()) {
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.all[node].Run(ctx) // it returns nil
	}()
	stop = func() { cancel(); <-done }
	n.t.Cleanup(stop)
	return stop
}

func TestRun_KeepsEveryNodeInStepWithTheState(t *testing.T) {
	t.Parallel()
	n := newNodes(t, func(_ string, o *LibraryOptions) { o.AuditEvery = 20 * time.Millisecond }, "a", "b", "c")
	archive, other := n.site("x"), n.site("other")
	n.mustAdd("a", "app", archive)
	n.mustAdd("a", "gone", other)
	// c has a file of this name that nobody knows of.
	strange, err := NewSpool(t.Context(), t.TempDir(), bytes.NewReader(other), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer strange.Discard()
	if err := n.all["c"].own().Create(t.Context(), "app", strange, Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"b", "c"} {
		n.run(node)
	}
	same := func(node, name string, want []byte) func() error {
		return func() error {
			if got := n.archive(node, name); !bytes.Equal(got, want) {
				return fmt.Errorf("%s has %d bytes of %s, want %d; it notes %v", node, len(got), name, len(want), n.all[node].Notes())
			}
			return nil
		}
	}
	eventually(t, same("c", "app", archive))
	n.noted("c", "app: the archive in this node's folder was not what the state says; it is at ")
	aside, err := filepath.Glob(filepath.Join(filepath.Dir(n.path("c", "app")), asidePrefix+"app.*[0-9]"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("%v, %v", aside, err)
	}
	if data, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(data, other) {
		t.Errorf("what was put aside has %d bytes, %v", len(data), err)
	}

	// A folder that is wiped is filled again.
	for _, name := range []string{"app", "gone"} {
		eventually(t, same("b", name, map[string][]byte{"app": archive, "gone": other}[name]))
		if err := os.Remove(n.path("b", name)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, same("b", "app", archive))
	eventually(t, same("c", "gone", other))

	// What one node removes is removed from all.
	if _, err := n.all["a"].Remove(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"a", "b", "c"} {
		eventually(t, same(node, "gone", nil))
	}
}

// What a restore takes away can come back by another one.
func TestRun_ARestoreLeavesArchivesForADay(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	n := newNodes(t, func(_ string, o *LibraryOptions) { o.AuditEvery, o.Now = 20*time.Millisecond, clock }, "a")
	archive := n.site("x")
	n.mustAdd("a", "app", archive)
	var before bytes.Buffer
	if err := n.store.Snapshot().WriteDocument(&before, state.DocumentOptions{}); err != nil {
		t.Fatal(err)
	}
	restore := func(text []byte) {
		t.Helper()
		doc, err := state.ParseDocument(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.store.Restore(t.Context(), doc, 0); err != nil {
			t.Fatal(err)
		}
	}
	stop := n.run("a")
	restore([]byte(`{"sites":[],"apps":[]}`))
	mu.Lock()
	now = now.Add(orphanAge - time.Hour)
	mu.Unlock()
	stop() // and a restart counts anew
	stop = n.run("a")
	n.has("a", "app", archive)
	if _, ok := n.store.Snapshot().App("app"); ok {
		t.Fatal("a bundle that was in the state is taken up again")
	}
	restore(before.Bytes())
	app, _ := n.store.Snapshot().App("app")
	if _, err := n.all["a"].Ensure(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	restore([]byte(`{"sites":[],"apps":[]}`))
	eventually(t, func() error { // once it was seen to be left over, its day begins
		mu.Lock()
		now = now.Add(orphanAge)
		mu.Unlock()
		if n.archive("a", "app") != nil {
			return errors.New("the archive is still there")
		}
		return nil
	})
	stop()
}
