package repotest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/bundle"
	"statiko/bundle/objectstore"
	"statiko/state"
)

// Remote is a server with a proxy before it, and repositories on it.
type Remote struct {
	Server interface {
		Kill()
		Start(t testing.TB)
		Stop(t testing.TB)
		Cont(t testing.TB)
	}
	Proxy interface {
		Cut()
		CutAfter(bytes int64)
		IsCut() bool
		Drop()
		Mend()
		Passed() int64
	}
	// Open returns a repository that reaches the server through the proxy, each time of the same place.
	Open func(t testing.TB, policy objectstore.Policy) bundle.Repository
	// PartSize is the size from which uploads go in parts.
	PartSize int
}

// quick is a policy for tests, in which servers are away on purpose.
var quick = objectstore.Policy{Patience: time.Minute, Stall: 10 * time.Second, Pause: 50 * time.Millisecond, PauseMax: 2 * time.Second}

// RunRemote runs the suite of what repositories on servers promise when those, or the way to them, fail. start is called
// once a test.
func RunRemote(t *testing.T, start func(t *testing.T) Remote) {
	tests := []struct {
		name string
		run  func(t *testing.T, r Remote)
	}{
		{"UploadInParts", uploadInParts},
		{"UploadsOfSeveralNodesRace", uploadsRace},
		{"UploadOverARestart", uploadOverARestart},
		{"UploadFailsAndLeavesNothing", uploadLeavesNothing},
		{"FrozenServer", frozenServer},
		{"ReadOverARestart", readOverARestart},
		{"ReadNeverMixesTwoVersions", readNeverMixes},
		{"ReadOverAChangeOfMetadata", readOverSetMeta},
		{"ReadEndsWithItsContext", readEndsWithContext},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, start(t)) })
	}
}

// Content returns bytes that do not repeat, the same each time.
func Content(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it never fails
	return b
}

func gone(t testing.TB, r bundle.Repository, name string) {
	t.Helper()
	if _, err := r.Stat(context.Background(), name); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("%s: %v; want ErrNotFound", name, err)
	}
	if list, err := r.List(context.Background()); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v; want nothing", list, err)
	}
}

// readOn returns the bytes of head and those that body still has. The size is how many they will be about: of a buffer
// that grows, the race detector looks at all bytes that are copied.
func readOn(body io.Reader, head []byte, size int) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, _ = b.Write(head) // it never fails
	_, err := b.ReadFrom(body)
	return b.Bytes(), err
}

func same(t testing.TB, r bundle.Repository, name string, want []byte) {
	t.Helper()
	body, _, err := r.Open(context.Background(), name, 0)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	defer body.Close()
	if got, err := readOn(body, nil, len(want)); err != nil {
		t.Errorf("read %s: %v", name, err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes that are not the %d stored", len(got), len(want))
	}
}

func uploadInParts(t *testing.T, remote Remote) {
	r := remote.Open(t, quick)
	data := Content(2*remote.PartSize + 12345)
	upload := Upload(t, data)
	want := bundle.Meta{Type: "zip", Hash: upload.HashBase64(), Entered: true}
	if err := r.Create(t.Context(), "site", upload, want); err != nil {
		t.Fatal(err)
	}
	if got, meta := read(t, r, "site"); got != string(data) || meta != want {
		t.Errorf("read %d bytes with %+v; want %d with %+v", len(got), meta, len(data), want)
	}
	if err := r.Create(t.Context(), "site", Upload(t, data[1:]), want); !errors.Is(err, bundle.ErrExists) {
		t.Errorf("again: %v; want ErrExists", err)
	}
}

// Two nodes do not know of each other: it is the server that lets one win.
func uploadsRace(t *testing.T, remote Remote) {
	var nodes []bundle.Repository
	var uploads []*bundle.Spool
	for i := range 4 {
		data := Content(remote.PartSize + 5000)
		data[0] = byte(i)
		if i%2 == 0 {
			data = data[:1000] // in one request
		}
		nodes, uploads = append(nodes, remote.Open(t, quick)), append(uploads, Upload(t, data))
	}
	errs := make([]error, len(nodes))
	var racing sync.WaitGroup
	for i, r := range nodes {
		racing.Go(func() {
			errs[i] = r.Create(context.Background(), "site", uploads[i], bundle.Meta{Hash: uploads[i].HashBase64()})
		})
	}
	racing.Wait()
	winner := -1
	for i, err := range errs {
		if err == nil && winner >= 0 {
			t.Fatalf("nodes %d and %d both created it", winner, i)
		}
		if err == nil {
			winner = i
		} else if !errors.Is(err, bundle.ErrExists) {
			t.Errorf("node %d: %v", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody created it")
	}
	got, meta := read(t, nodes[0], "site")
	if again := Upload(t, []byte(got)); again.SHA256 != uploads[winner].SHA256 || meta.Hash != uploads[winner].HashBase64() {
		t.Errorf("node %d won, and there are %d bytes of hash %s", winner, len(got), again.SHA256)
	}
}

// A server that is away for a moment is waited for, and only what it lacks is sent again.
func uploadOverARestart(t *testing.T, remote Remote) {
	r := remote.Open(t, quick)
	data := Content(8 * remote.PartSize)
	remote.Proxy.CutAfter(int64(5 * remote.PartSize))
	back := make(chan struct{})
	go func() {
		defer close(back)
		for !remote.Proxy.IsCut() {
			time.Sleep(time.Millisecond)
		}
		remote.Server.Kill()
		remote.Server.Start(t)
		remote.Proxy.Mend()
	}()
	err := r.Create(t.Context(), "site", Upload(t, data), bundle.Meta{Type: "zip"})
	<-back
	if err != nil {
		t.Fatal(err)
	}
	same(t, r, "site", data)
	if passed := remote.Proxy.Passed(); passed > int64(8+8+6)*int64(remote.PartSize) { // up, down, and what was on its way
		t.Errorf("%d bytes passed for twice %d", passed, len(data))
	}
}

// A server that stays away has the upload fail with the reason, and nothing is there when it comes back.
func uploadLeavesNothing(t *testing.T, remote Remote) {
	policy := quick
	policy.Patience = 500 * time.Millisecond
	r := remote.Open(t, policy)
	remote.Proxy.CutAfter(int64(3 * remote.PartSize))
	upload := Upload(t, Content(8*remote.PartSize))
	err := r.Create(t.Context(), "site", upload, bundle.Meta{})
	if err == nil || !strings.Contains(err.Error(), "cannot be reached") || !strings.Contains(err.Error(), "endpoint") || !errors.Is(err, state.ErrUnavailable) {
		t.Fatalf("%v; want that the server cannot be reached, the key, and state.ErrUnavailable", err)
	}
	remote.Proxy.Mend()
	gone(t, r, "site")
	if err := r.Create(t.Context(), "site", upload, bundle.Meta{}); err != nil {
		t.Errorf("the same once more: %v", err)
	}
}

// A server that is frozen, with its connections open, is not waited for without end.
func frozenServer(t *testing.T, remote Remote) {
	policy := quick
	policy.Stall, policy.Patience = 300*time.Millisecond, time.Second
	r := remote.Open(t, policy)
	remote.Server.Stop(t)
	_, err := r.Stat(t.Context(), "site")
	createErr := r.Create(t.Context(), "site", Upload(t, []byte("x")), bundle.Meta{})
	remote.Server.Cont(t)
	for _, err := range []error{err, createErr} {
		if err == nil || !strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("%v; want that the server did not answer in time", err)
		}
	}
}

// begun returns a repository with one bundle that does not fit into what connections hold, the reader of that, and what
// was read of it.
func begun(t *testing.T, remote Remote, ctx context.Context) (r bundle.Repository, data []byte, body io.ReadCloser, head []byte) {
	t.Helper()
	r = remote.Open(t, quick)
	data = Content(24 << 20)
	if err := r.Create(t.Context(), "site", Upload(t, data), bundle.Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	body, _, err := r.Open(ctx, "site", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = body.Close() })
	head = make([]byte, 1<<20)
	if _, err := io.ReadFull(body, head); err != nil {
		t.Fatal(err)
	}
	return r, data, body, head
}

// A read goes on over breaks, and over a restart of the server, where it was.
func readOverARestart(t *testing.T, remote Remote) {
	_, data, body, head := begun(t, remote, t.Context())
	before := remote.Proxy.Passed()
	remote.Proxy.Cut()
	remote.Server.Kill()
	back := make(chan struct{})
	go func() {
		defer close(back)
		remote.Server.Start(t)
		remote.Proxy.Mend()
	}()
	got, err := readOn(body, head, len(data))
	<-back
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(data))
	}
	if passed := remote.Proxy.Passed() - before; passed > int64(len(data)) {
		t.Errorf("%d bytes passed after the break for the rest of %d", passed, len(data))
	}
}

// A bundle that is replaced while it is read never gives bytes of both.
func readNeverMixes(t *testing.T, remote Remote) {
	r, data, body, head := begun(t, remote, t.Context())
	if err := r.Remove(t.Context(), "site"); err != nil {
		t.Fatal(err)
	}
	other := bytes.Repeat([]byte("other"), len(data)/5+1)[:len(data)]
	if err := r.Create(t.Context(), "site", Upload(t, other), bundle.Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	remote.Proxy.Drop()
	got, err := readOn(body, head, len(data))
	if !errors.Is(err, objectstore.ErrChanged) || !bytes.HasPrefix(data, got) {
		t.Fatalf("%d bytes, %v; want ErrChanged after bytes of the first version", len(got), err)
	}
}

// What is stored beside the bytes may be replaced while they are read: they stay the same.
func readOverSetMeta(t *testing.T, remote Remote) {
	r, data, body, head := begun(t, remote, t.Context())
	want := bundle.Meta{Type: "zip", Entered: true}
	if err := r.SetMeta(t.Context(), "site", want); err != nil {
		t.Fatal(err)
	}
	remote.Proxy.Drop()
	if got, err := readOn(body, head, len(data)); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(data))
	}
	if e, err := r.Stat(t.Context(), "site"); err != nil || e.Meta != want {
		t.Errorf("%+v, %v", e, err)
	}
}

func readEndsWithContext(t *testing.T, remote Remote) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, _, body, _ := begun(t, remote, ctx)
	cancel()
	if _, err := io.ReadAll(body); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want context.Canceled", err)
	}
}

// Streams stores and reads back an object of the size without ever having much of it in memory; used returns the
// process's memory, in bytes, and most is what it may grow by.
func Streams(t *testing.T, r bundle.Repository, size int64, used func() int64, most int64) {
	t.Helper()
	before := used()
	peak := int64(0)
	watch := func() { peak = max(peak, used()-before) }
	upload, err := bundle.NewSpool(t.Context(), t.TempDir(), io.LimitReader(rand.NewChaCha8([32]byte{2}), size), size)
	if err != nil {
		t.Fatal(err)
	}
	defer upload.Discard()
	done := make(chan error, 1)
	go func() {
		done <- r.Create(t.Context(), "large", upload, bundle.Meta{Type: "tar", Hash: upload.HashBase64()})
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for stored := false; !stored; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			stored = true
		case <-tick.C:
			watch()
		}
	}
	body, _, err := r.Open(t.Context(), "large", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	back, err := bundle.NewSpool(t.Context(), t.TempDir(), readerFunc(func(p []byte) (int, error) {
		if rand.IntN(256) == 0 {
			watch()
		}
		return body.Read(p)
	}), size)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Discard()
	if back.SHA256 != upload.SHA256 {
		t.Error("what came back is not what was stored")
	}
	if peak > most {
		t.Errorf("memory grew by %d bytes for an object of %d; at most %d may", peak, size, most)
	}
	t.Logf("%d MiB stored and read back; memory grew by %d KiB at most", size>>20, peak>>10)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
