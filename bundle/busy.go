package bundle

import (
	"context"
	"fmt"
	"sync"
)

// busy lets one at a time work on each bundle. The zero value is ready.
type busy struct {
	mu sync.Mutex
	// at is closed, by SHA-256, when the one at work is done.
	at map[string]chan struct{}
}

// lock waits until nobody else works on this bundle. The returned function ends the work.
func (b *busy) lock(ctx context.Context, sha string) (unlock func(), err error) {
	for {
		b.mu.Lock()
		other, taken := b.at[sha]
		if !taken {
			done := make(chan struct{})
			if b.at == nil {
				b.at = map[string]chan struct{}{}
			}
			b.at[sha] = done
			b.mu.Unlock()
			return func() {
				b.mu.Lock()
				delete(b.at, sha)
				b.mu.Unlock()
				close(done)
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for bundle %.12s: %w", sha, ctx.Err())
		}
	}
}
