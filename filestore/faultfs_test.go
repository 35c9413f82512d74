package filestore

import (
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
)

// faultFS is the real file system with faults: fail says for each operation whether, and how, it fails.
type faultFS struct {
	osFS
	mu   sync.Mutex
	fail func(op, name string) error
	ops  []string
	// names has, for each name, the file that was opened last by it, so that it can follow a rename.
	names map[string]*faultFile
}

// set changes the faults; nil ends them.
func (f *faultFS) set(fail func(op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faultFS) do(op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops = append(f.ops, op+" "+filepath.Base(name))
	if f.fail == nil {
		return nil
	}
	if err := f.fail(op, name); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (f *faultFS) OpenFile(name string, flag int, mode fs.FileMode) (File, error) {
	if err := f.do("open", name); err != nil {
		return nil, err
	}
	file, err := f.osFS.OpenFile(name, flag, mode)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	opened := &faultFile{file, f, name}
	if f.names == nil {
		f.names = map[string]*faultFile{}
	}
	f.names[name] = opened
	return opened, nil
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.do("rename", to); err != nil {
		return err
	}
	if err := f.osFS.Rename(from, to); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if file, ok := f.names[from]; ok {
		file.name = to
		f.names[to] = file
		delete(f.names, from)
	}
	return nil
}

func (f *faultFS) SyncDir(folder string) error {
	if err := f.do("syncdir", folder); err != nil {
		return err
	}
	return f.osFS.SyncDir(folder)
}

type faultFile struct {
	File
	fs   *faultFS
	name string
}

func (f *faultFile) do(op string) error {
	f.fs.mu.Lock()
	name := f.name
	f.fs.mu.Unlock()
	return f.fs.do(op, name)
}

func (f *faultFile) Write(p []byte) (int, error) {
	if err := f.do("write"); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.do("write"); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], at)
		return n, err
	}
	return f.File.WriteAt(p, at)
}

func (f *faultFile) Sync() error {
	if err := f.do("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.do("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// faults are the ways in which a disk refuses, by name.
var faults = map[string]func(op, name string) error{
	"full": func(op, _ string) error {
		if op == "write" {
			return syscall.ENOSPC
		}
		return nil
	},
	"sync fails": func(op, _ string) error {
		if op == "sync" || op == "syncdir" {
			return syscall.EIO
		}
		return nil
	},
	"nothing works": func(string, string) error { return syscall.EIO },
	"neither write nor truncate": func(op, _ string) error {
		if op == "write" || op == "truncate" {
			return syscall.EIO
		}
		return nil
	},
	"folder cannot be synced": func(op, _ string) error {
		if op == "syncdir" || op == "write" {
			return syscall.EIO
		}
		return nil
	},
}
