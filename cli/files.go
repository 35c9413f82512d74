package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// writeFile writes a file that only its owner reads, so that after any crash it is the old or the new one: into a
// temporary file beside it, fsynced, renamed, with the folder fsynced.
func writeFile(path string, write func(io.Writer) error) (err error) {
	// A link stays a link: what it points to is replaced.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return writeDevice(path, write)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // its mode is 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// The first error is the one to tell.
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// writeDevice writes to what is no file, such as /dev/null, and must not be replaced by one.
func writeDevice(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		// The first error is the one to tell.
		_ = f.Close()
		return err
	}
	return f.Close()
}

// syncFolder makes a rename in the folder durable. Some file systems cannot, and say EINVAL.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// writeOwn writes one of stkcli's own files; the folder is made if it is missing.
func writeOwn(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return localError(err, "could not make the folder for stkcli's files")
	}
	err := writeFile(path, func(w io.Writer) error { _, err := w.Write(data); return err })
	if err != nil {
		return localError(err, "could not write %s", path)
	}
	return nil
}
