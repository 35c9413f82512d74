package bundle

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
