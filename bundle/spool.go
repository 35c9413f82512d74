package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// uploadPrefix begins the names of uploads that are on their way.
const uploadPrefix = ".upload-"

// Spool is an upload that has arrived: a temporary file, durable, with its size and hash. Whoever made it
// discards it, also after a repository has taken its content.
type Spool struct {
	// Path is the temporary file. It is only read.
	Path string
	// Size is in bytes, never zero.
	Size int64
	// SHA256 is that of the content, in lower-case hexadecimal.
	SHA256 string

	file    *os.File // keeps the lock
	discard sync.Once
}

// NewSpool reads r to its end into a temporary file in dir, which is best the folder of a local repository: taking
// the upload over is then no copy. More than maxBytes is [ErrTooLarge]; nothing at all is an [*ArchiveError]. After
// an error nothing is left behind. The file is locked while it exists, so that a cleaner can tell a crash's
// leftovers from what another node on a shared folder is writing.
func NewSpool(ctx context.Context, dir string, r io.Reader, maxBytes int64) (*Spool, error) {
	f, err := os.CreateTemp(dir, uploadPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("store upload: %w", err)
	}
	s := &Spool{Path: f.Name(), file: f}
	if err := s.fill(ctx, r, maxBytes); err != nil {
		s.Discard()
		return nil, err
	}
	return s, nil
}

func (s *Spool) fill(ctx context.Context, r io.Reader, maxBytes int64) error {
	if err := lockFile(s.file); err != nil {
		return fmt.Errorf("store upload: lock: %w", err)
	}
	h := sha256.New()
	src := &readErrors{r: io.LimitReader(&contextReader{ctx: ctx, r: r}, maxBytes+1)}
	n, err := io.Copy(io.MultiWriter(s.file, h), src)
	switch {
	case src.err != nil:
		return fmt.Errorf("receive upload: %w", src.err)
	case err != nil:
		return fmt.Errorf("store upload: %w", err)
	case n > maxBytes:
		return fmt.Errorf("the upload has more than %d bytes: %w", maxBytes, ErrTooLarge)
	case n == 0:
		return &ArchiveError{Reason: "the archive is empty (0 bytes)"}
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("store upload: %w", err)
	}
	s.Size, s.SHA256 = n, hex.EncodeToString(h.Sum(nil))
	return nil
}

// HashBase64 returns the SHA-256 as metadata holds it: standard base64.
func (s *Spool) HashBase64() string {
	raw, _ := hex.DecodeString(s.SHA256)
	return base64.StdEncoding.EncodeToString(raw)
}

// Open opens the content for reading.
func (s *Spool) Open() (*os.File, error) { return os.Open(s.Path) }

// Discard removes the temporary file. It can be called more than once.
func (s *Spool) Discard() {
	s.discard.Do(func() {
		_ = os.Remove(s.Path) // a leftover is removed when the repository is opened
		_ = s.file.Close()
	})
}

// readErrors remembers an error of the source, which io.Copy does not tell from one of the destination.
type readErrors struct {
	r   io.Reader
	err error
}

func (s *readErrors) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
