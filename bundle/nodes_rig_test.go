package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

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
