package filestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// memFS is a file system in memory that knows what a crash would leave: the content that was synced, and the
// entries of folders that were. It can crash before any single operation.
type memFS struct {
	mu      sync.Mutex
	entries map[string]*memNode
	durable map[string]*memNode
	// pending are the changes of entries since the folder was synced.
	pending []memEntryOp
	locked  map[string]bool
	// ops counts what changes something; crashAt is the one that finds the power gone, 0 for none.
	ops, crashAt int
	crashed      bool
	// foldOften is for the options of the store that uses it.
	foldOften bool
}

type memNode struct {
	data, durable []byte
	pending       []memWrite
	modified      time.Time
}

// memWrite is a write, or if data is nil a truncation to the size at.
type memWrite struct {
	at   int64
	data []byte
}

// memEntryOp makes entries point to nodes; nil removes them. A rename is one operation on two.
type memEntryOp map[string]*memNode

var errCrashed = errors.New("the power is gone")

func newMemFS() *memFS {
	return &memFS{entries: map[string]*memNode{}, durable: map[string]*memNode{}, locked: map[string]bool{}}
}

// step counts an operation that changes something.
func (m *memFS) step(op, name string) error {
	if m.crashed {
		return errCrashed
	}
	m.ops++
	if m.ops == m.crashAt {
		m.crashed = true
		return fmt.Errorf("%s %s: %w", op, name, errCrashed)
	}
	return nil
}

// How much of what was not synced a crash leaves.
const (
	leaveNothing = iota
	leaveEverything
	leaveSome
)

// reboot returns the file system after a crash.
func (m *memFS) reboot(leave int, random *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := newMemFS()
	n.foldOften = m.foldOften
	entries := map[string]*memNode{}
	for name, node := range m.durable {
		entries[name] = node
	}
	// Either the entries' changes are kept in order up to some point, or any of them.
	inOrder, stop := random.IntN(2) == 0, random.IntN(len(m.pending)+1)
	for i, op := range m.pending {
		if leave == leaveEverything || leave == leaveSome && (inOrder && i < stop || !inOrder && random.IntN(2) == 0) {
			apply(entries, op)
		}
	}
	nodes := map[*memNode]*memNode{}
	for name, node := range entries {
		if nodes[node] == nil {
			nodes[node] = node.reboot(leave, random)
		}
		n.entries[name], n.durable[name] = nodes[node], nodes[node]
	}
	return n
}

func apply(entries map[string]*memNode, op memEntryOp) {
	for name, node := range op {
		if node == nil {
			delete(entries, name)
		} else {
			entries[name] = node
		}
	}
}

// sector is what a disk writes as a whole, made small so that records are torn often.
const sector = 64

func (n *memNode) reboot(leave int, random *rand.Rand) *memNode {
	data := append([]byte(nil), n.durable...)
	for _, w := range n.pending {
		switch {
		case leave == leaveNothing || leave == leaveSome && w.data == nil && random.IntN(2) == 0:
		case w.data == nil:
			data = resize(data, w.at)
		case leave == leaveEverything:
			data = resize(data, max(int64(len(data)), w.at+int64(len(w.data))))
			copy(data[w.at:], w.data)
		default:
			// Any sectors of a write may be there, in any order; the size may cover those that are not.
			for at := 0; at < len(w.data); at += sector {
				end := min(at+sector, len(w.data))
				if random.IntN(3) > 0 {
					data = resize(data, max(int64(len(data)), w.at+int64(end)))
					copy(data[w.at+int64(at):], w.data[at:end])
				}
			}
		}
	}
	return &memNode{data: data, durable: append([]byte(nil), data...), modified: n.modified}
}

func resize(data []byte, size int64) []byte {
	if int64(len(data)) >= size {
		return data[:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

func (m *memFS) change(op memEntryOp) {
	apply(m.entries, op)
	m.pending = append(m.pending, op)
}

func (m *memFS) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return nil, errCrashed
	}
	node, ok := m.entries[name]
	switch {
	case ok && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case !ok && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case !ok:
		if err := m.step("create", name); err != nil {
			return nil, err
		}
		node = &memNode{modified: time.Now()}
		m.change(memEntryOp{name: node})
	}
	return &memFile{fs: m, node: node, name: name}, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, ok := m.entries[from]
	if !ok {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if err := m.step("rename", to); err != nil {
		return err
	}
	m.change(memEntryOp{from: nil, to: node})
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.entries[name]; !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if err := m.step("remove", name); err != nil {
		return err
	}
	m.change(memEntryOp{name: nil})
	return nil
}

func (m *memFS) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return nil, errCrashed
	}
	if node, ok := m.entries[name]; ok {
		return memInfo{name, int64(len(node.data)), node.modified, 0o600}, nil
	}
	if name == memFolder {
		return memInfo{name, 0, time.Time{}, fs.ModeDir | 0o700}, nil
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

func (m *memFS) SyncDir(folder string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("syncdir", folder); err != nil {
		return err
	}
	for _, op := range m.pending {
		apply(m.durable, op)
	}
	m.pending = nil
	return nil
}

func (m *memFS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[name] {
		return nil, &LockedError{PID: "1"}
	}
	m.locked[name] = true
	return memLock{m, name}, nil
}

type memLock struct {
	fs   *memFS
	name string
}

func (l memLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locked, l.name)
	return nil
}

type memFile struct {
	fs   *memFS
	node *memNode
	name string
	at   int64
}

func (f *memFile) write(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step("write", f.name); err != nil {
		return 0, err
	}
	f.node.data = resize(f.node.data, max(int64(len(f.node.data)), at+int64(len(p))))
	copy(f.node.data[at:], p)
	f.node.pending = append(f.node.pending, memWrite{at, append([]byte{}, p...)})
	f.node.modified = time.Now()
	return len(p), nil
}

func (f *memFile) Write(p []byte) (int, error) {
	n, err := f.write(p, f.at)
	f.at += int64(n)
	return n, err
}

func (f *memFile) WriteAt(p []byte, at int64) (int, error) { return f.write(p, at) }

func (f *memFile) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 {
		return n, nil
	}
	return n, err
}

func (f *memFile) ReadAt(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.crashed {
		return 0, errCrashed
	}
	if at >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step("sync", f.name); err != nil {
		return err
	}
	f.node.durable = append([]byte(nil), f.node.data...)
	f.node.pending = nil
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step("truncate", f.name); err != nil {
		return err
	}
	f.node.data = resize(f.node.data, size)
	f.node.pending = append(f.node.pending, memWrite{at: size})
	return nil
}

func (f *memFile) Stat() (fs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.crashed {
		return nil, errCrashed
	}
	return memInfo{f.name, int64(len(f.node.data)), f.node.modified, 0o600}, nil
}

func (f *memFile) Close() error { return nil }

// memFolder is the one folder.
const memFolder = "/state"

type memInfo struct {
	name     string
	size     int64
	modified time.Time
	mode     fs.FileMode
}

func (i memInfo) Name() string       { return filepath.Base(i.name) }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.modified }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
