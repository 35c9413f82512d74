package cli

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
)

// packedType is what folders are packed as: the best that nodes of the earlier program unpack too and that is
// quick to make.
const packedType = "tar.gz"

// packed is an archive being made while it is read.
type packed struct {
	*io.PipeReader
	done chan struct{}
}

// Close ends the packing and waits for it.
func (p *packed) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// pack returns the archive. The same names and contents make the same bytes: owners, modes and times, which do not
// matter when it is served, are the same for all files. Progress is called with the bytes read from files.
func (t *folderTree) pack(progress func(int)) io.ReadCloser {
	r, w := io.Pipe()
	p := &packed{r, make(chan struct{})}
	go func() {
		defer close(p.done)
		w.CloseWithError(t.write(w, progress))
	}()
	return p
}

func (t *folderTree) write(w io.Writer, progress func(int)) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	archive := tar.NewWriter(z)
	for _, e := range t.entries {
		if err := e.write(archive, progress); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return z.Close()
}

func (e folderEntry) write(w *tar.Writer, progress func(int)) error {
	// The epoch, for a tar file has no other way to say that there is no time.
	h := &tar.Header{Name: e.name, Size: e.size, Mode: 0o644, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
	if e.file == "" {
		h.Mode, h.Typeflag = 0o755, tar.TypeDir
	}
	if err := w.WriteHeader(h); err != nil || e.file == "" {
		return err
	}
	f, err := os.Open(e.file)
	if err != nil {
		return localError(err, "could not read the folder; the upload was broken off")
	}
	defer f.Close()
	n, err := io.Copy(w, countingReader{f, progress})
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != e.size {
		return localError(nil, "%s changed while it was packed; the upload was broken off", e.name)
	}
	if err != nil {
		return localError(err, "could not pack %s; the upload was broken off", e.name)
	}
	return nil
}

// countingReader tells how much was read.
type countingReader struct {
	r        io.Reader
	progress func(int)
}

func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.progress(n)
	return n, err
}
