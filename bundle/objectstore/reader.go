package objectstore

import (
	"context"
	"errors"
	"io"
	"sync"
)

// ErrChanged is wrapped by the error for bytes that became others while they were read.
var ErrChanged = errors.New("the bundle was replaced while it was read")

// Source returns the bytes of one version of an object from the offset, and fails if that version is gone. ctx is
// that of the bytes too.
type Source func(ctx context.Context, offset int64) (io.ReadCloser, error)

// Reader reads an object to its end, over breaks: it asks the source for the rest. It is for one goroutine, but Close
// may come from another.
type Reader struct {
	ctx          context.Context
	end          context.CancelFunc
	policy       Policy
	transient    func(error) bool
	source       Source
	explain      func(error) error
	offset, size int64

	mu     sync.Mutex
	closed bool
	body   io.ReadCloser
	cancel context.CancelFunc // of body
}

// ReaderOptions are what a Reader works with.
type ReaderOptions struct {
	Policy    Policy
	Transient func(error) bool
	Source    Source
	// Explain words an error for people.
	Explain func(error) error
	// Offset is where to begin, Size the object's size.
	Offset, Size int64
}

// NewReader returns a reader whose reads end when ctx does. The caller closes it.
func NewReader(ctx context.Context, o ReaderOptions) *Reader {
	r := &Reader{policy: o.Policy, transient: o.Transient, source: o.Source, explain: o.Explain, offset: o.Offset, size: o.Size}
	r.ctx, r.end = context.WithCancel(ctx)
	return r
}

// Read is part of [io.Reader].
func (r *Reader) Read(p []byte) (n int, err error) {
	if r.offset >= r.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if rest := r.size - r.offset; int64(len(p)) > rest {
		p = p[:rest]
	}
	err = r.policy.Do(r.ctx, r.transient, func(ctx context.Context, _ func()) error {
		n, err = r.some(ctx, p)
		return err
	})
	r.offset += int64(n)
	if err != nil {
		return n, r.explain(err)
	}
	return n, nil
}

// some reads at least one byte, or drops the connection and says why.
func (r *Reader) some(ctx context.Context, p []byte) (int, error) {
	body, err := r.connected(ctx)
	if err != nil {
		return 0, err
	}
	// A body outlives the attempt that opened it, but a stall of this attempt ends it.
	stop := context.AfterFunc(ctx, r.drop)
	n, err := body.Read(p)
	stop()
	if n > 0 {
		return n, nil // an error beside bytes comes again
	}
	r.drop()
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

func (r *Reader) connected(ctx context.Context) (io.ReadCloser, error) {
	r.mu.Lock()
	body := r.body
	r.mu.Unlock()
	if body != nil {
		return body, nil
	}
	own, cancel := context.WithCancel(r.ctx)
	stop := context.AfterFunc(ctx, cancel)
	body, err := r.source(own, r.offset)
	stop()
	if err != nil {
		cancel()
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		cancel()
		return nil, errors.Join(context.Canceled, body.Close())
	}
	r.body, r.cancel = body, cancel
	return body, nil
}

// drop ends the connection.
func (r *Reader) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.body == nil {
		return
	}
	r.cancel()
	_ = r.body.Close() // what was not read does not matter
	r.body, r.cancel = nil, nil
}

// Connect asks for the bytes ahead of the first read, so that they come even if the object is removed meanwhile.
func (r *Reader) Connect() error {
	if r.offset >= r.size {
		return nil
	}
	return r.policy.Do(r.ctx, r.transient, func(ctx context.Context, _ func()) error {
		_, err := r.connected(ctx)
		return err
	})
}

// Close ends reading.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end()
	r.drop()
	return nil
}
