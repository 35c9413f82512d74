package filestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// FS is what the store needs of a file system. It exists so that tests can make it fail, and forget what was not
// synced. Methods are safe for concurrent use; errors are those of package os.
type FS interface {
	OpenFile(name string, flag int, mode fs.FileMode) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the folder's entries durable. Until then a new or renamed file may be gone after a crash.
	SyncDir(folder string) error
	// Lock takes the file for this process alone, without waiting, and keeps it until the result is closed.
	// If another has it, the error is a [*LockedError].
	Lock(name string) (io.Closer, error)
}

// File is an open file. Content is durable only after Sync.
type File interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
}

// LockedError says that another process uses the file.
type LockedError struct {
	// PID is the other process's id, as it wrote it; "" if it did not.
	PID string
}

func (e *LockedError) Error() string {
	if e.PID == "" {
		return "another process uses it"
	}
	return "process " + e.PID + " uses it"
}

// osFS is the real file system.
type osFS struct{}

func (osFS) OpenFile(name string, flag int, mode fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, mode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osFS) Rename(from, to string) error          { return os.Rename(from, to) }
func (osFS) Remove(name string) error              { return os.Remove(name) }
func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (osFS) SyncDir(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Lock uses flock, which ends with the process however it ends. The file is never removed: whoever had opened it
// just before would lock a file that nobody else sees.
func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			pid, _ := io.ReadAll(io.LimitReader(f, 32))
			return nil, &LockedError{PID: strings.TrimSpace(string(pid))}
		}
		return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	if err := f.Truncate(0); err == nil {
		// The id is only for the other's message; the lock holds without it, on a full disk as well.
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return heldLock{f}, nil
}

// heldLock is a file with a lock.
type heldLock struct{ *os.File }

// Close unlocks before it closes: a child process that is just being started has a copy of the descriptor until
// it executes its program, and closing ours alone would leave it with the lock.
func (l heldLock) Close() error {
	return errors.Join(unix.Flock(int(l.Fd()), unix.LOCK_UN), l.File.Close())
}

// readFile returns a file's content.
func readFile(fsys FS, name string) ([]byte, fs.FileInfo, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return nil, nil, &fs.PathError{Op: "read", Path: name, Err: unix.EISDIR}
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, err
	}
	return data, info, nil
}
