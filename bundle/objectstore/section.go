package objectstore

import (
	"context"
	"io"
	"time"
)

// Section is a part of a file that is sent, and sent again from its beginning if need be. The file stays open.
type Section struct {
	*io.SectionReader
	moved func()
}

// NewSection returns the part of so many bytes from the offset. moved is called whenever some of it is taken.
func NewSection(file io.ReaderAt, offset, length int64, moved func()) *Section {
	return &Section{io.NewSectionReader(file, offset, length), moved}
}

// Read is part of [io.Reader].
func (s *Section) Read(b []byte) (int, error) {
	s.moved()
	return s.SectionReader.Read(b)
}

// Close does nothing: who opened the file closes it.
func (s *Section) Close() error { return nil }

// lastWordTimeout is for one or two requests to a server that answers.
const lastWordTimeout = 5 * time.Second

// LastWord returns a context for what is left to do and to learn when ctx has ended.
func LastWord(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), lastWordTimeout)
}
