package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// body is what a request carries.
type body struct {
	r           io.Reader
	contentType string
	// size is in bytes; -1 if unknown, and the body is sent in chunks.
	size int64
}

// expectFrom is the size in bytes from which the client waits for the node's word before it sends a body, so that a
// refusal comes at once and not after an upload.
const expectFrom = 64 << 10

func (b *body) expect() bool { return b.size < 0 || b.size >= expectFrom }

func jsonBody(v any) (*body, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return &body{r: bytes.NewReader(b), contentType: "application/json", size: int64(len(b))}, nil
}

// lentReader is a caller's reader while a call has it. The transport may go on reading after a call returned, if
// the node answered before it had all, and closes what it can close; a caller expects neither.
type lentReader struct {
	mu sync.Mutex
	r  io.Reader // nil once it is given back
}

var errGivenBack = errors.New("the call is over")

func (l *lentReader) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r == nil {
		return 0, errGivenBack
	}
	return l.r.Read(b)
}

// giveBack waits for a read under way and prevents further ones.
func (l *lentReader) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r = nil
}
