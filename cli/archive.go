package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"statiko/bundle"
)

// archive is what is going to be sent, or looked at.
type archive struct {
	typ string
	// total is how many bytes are going to be read to make it.
	total int64
	// folder tells that it is packed while it is read.
	folder bool
	// open begins to read; progress is called with the bytes read since the last time. The result must be closed.
	open func(progress func(int)) (io.ReadCloser, error)
}

// openArchive finds out what --path names, and says what of a folder is left out.
func (a *app) openArchive(path string, all bool) (*archive, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, userError("--path: %v", err)
	}
	if !info.IsDir() {
		typ, ok := bundle.TypeOfFile(filepath.Base(path))
		if !ok {
			return nil, userError("%s is neither a folder nor an archive of a known type", path).
				withHint("known types are %s", strings.Join(bundle.Types(), ", "))
		}
		if !info.Mode().IsRegular() {
			return nil, userError("%s is no regular file", path)
		}
		if info.Size() == 0 {
			return nil, userError("%s is empty", path)
		}
		return archiveFile(path, typ, info.Size()), nil
	}
	tree, err := scanFolder(path, all)
	if err != nil {
		return nil, err
	}
	if len(tree.leftOut) > 0 {
		shown := tree.leftOut
		more := ""
		if len(shown) > 10 && !a.flags.verbose {
			more = fmt.Sprintf(" and %d more", len(shown)-10)
			shown = shown[:10]
		}
		fmt.Fprintf(a.Stderr, "left out: %s%s (--all keeps them)\n", strings.Join(shown, ", "), more)
	}
	if a.flags.verbose {
		for _, e := range tree.entries {
			fmt.Fprintln(a.Stderr, e.name)
		}
	}
	return &archive{typ: packedType, total: tree.size, folder: true, open: func(progress func(int)) (io.ReadCloser, error) {
		return tree.pack(progress), nil
	}}, nil
}

// archiveFile is an archive that is a file.
func archiveFile(path, typ string, size int64) *archive {
	return &archive{typ: typ, total: size, open: func(progress func(int)) (io.ReadCloser, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, localError(err, "could not read the archive")
		}
		return readCloser{&localReader{f, progress}, f}, nil
	}}
}

// digest reads the archive to its end, unless ctx ends before, copies it to w, and returns its SHA-256 and its size.
func (r *archive) digest(ctx context.Context, w io.Writer, progress func(int)) ([]byte, int64, error) {
	content, err := r.open(progress)
	if err != nil {
		return nil, 0, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(sum, w), contextReader{ctx, content})
	content.Close()
	return sum.Sum(nil), n, err
}

// packed returns the archive as a file, with its SHA-256: a folder is packed into a temporary one, so that what is sent
// is what was looked at. Done removes that.
func (a *app) packed(ctx context.Context, r *archive) (file *archive, sum []byte, done func(), err error) {
	done = func() {}
	if !r.folder {
		progress, end := a.progress("hashing", r.total)
		sum, _, err = r.digest(ctx, io.Discard, progress)
		end()
		return r, sum, done, err
	}
	f, err := os.CreateTemp("", "stkcli-*."+r.typ)
	if err != nil {
		return nil, nil, done, localError(err, "could not make a temporary file")
	}
	remove := func() { _ = os.Remove(f.Name()) } // what stays there is the system's to clear
	progress, end := a.progress("packing", r.total)
	sum, n, err := r.digest(ctx, f, progress)
	end()
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		remove()
		if _, ok := errors.AsType[*failure](err); !ok {
			err = localError(err, "could not pack the folder into %s", f.Name()).withHint("TMPDIR names another folder for it")
		}
		return nil, nil, done, err
	}
	return archiveFile(f.Name(), r.typ, n), sum, remove, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// readCloser reads from one and closes another.
type readCloser struct {
	io.Reader
	io.Closer
}

// localReader makes errors of reading a file of this machine known as such.
type localReader struct {
	f        *os.File
	progress func(int)
}

func (r *localReader) Read(b []byte) (int, error) {
	n, err := r.f.Read(b)
	r.progress(n)
	if err != nil && err != io.EOF {
		err = localError(err, "could not read the archive")
	}
	return n, err
}
