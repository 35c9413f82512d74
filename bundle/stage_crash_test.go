package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// W35: what could not be staged leaves nothing that a second try could take for good.
func TestW35_FailedStagingLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	whole := buildSite(t, "tar.gz")
	bad := request(t, whole[:len(whole)-4], "tar.gz")
	for range 2 {
		var ae *ArchiveError
		if _, err := s.Stage(context.Background(), bad); !errors.As(err, &ae) {
			t.Fatalf("got %v", err)
		}
		if _, ok := s.Staged(bad.SHA256); ok {
			t.Fatal("half a bundle is staged")
		}
		wantNothingLeft(t, s)
	}
	wrong := request(t, whole, "tar.gz")
	wrong.SHA256 = strings.Repeat("ab", 32)
	if _, err := s.Stage(context.Background(), wrong); !errors.Is(err, ErrHashMismatch) {
		t.Errorf("wrong hash: %v", err)
	}
	for _, sha := range []string{"", "..", strings.Repeat("AB", 32), strings.Repeat("a", 63), "../" + strings.Repeat("a", 61)} {
		wrong.SHA256 = sha
		if _, err := s.Stage(context.Background(), wrong); err == nil {
			t.Errorf("%q is taken for a hash", sha)
		}
		if err := s.Remove(sha); err == nil {
			t.Errorf("%q is removed", sha)
		}
	}
	wantNothingLeft(t, s)
}

// A call is cancelled at many points; whatever it was doing, nothing is left, and the next call succeeds.
func TestStage_CancelledAnywhereLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	items := []item{}
	for i := range 60 {
		items = append(items, item{name: fmt.Sprintf("d%d/f%d.html", i%7, i), content: strings.Repeat(fmt.Sprintf("line %d\n", i), 600)})
	}
	r := request(t, buildTar(t, items...), "tar")
	cancelled := 0
	for after := 1; ; after += 1 + after/4 {
		ctx := &countdown{Context: context.Background(), left: after, done: make(chan struct{})}
		_, err := s.Stage(ctx, r)
		if err == nil {
			break
		}
		cancelled++
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d looks: %v", after, err)
		}
		if _, ok := s.Staged(r.SHA256); ok {
			t.Fatalf("after %d looks: cancelled, yet staged", after)
		}
		wantNothingLeft(t, s)
	}
	if cancelled < 10 {
		t.Errorf("only %d points were tried", cancelled)
	}
	wantNothingLeft(t, s, r.SHA256)
	wantTree(t, filepath.Join(s.dir, r.SHA256, FilesDir), contents(items))
}

// countdown is a context that ends when it has been looked at so many times.
type countdown struct {
	context.Context
	mu   sync.Mutex
	left int
	done chan struct{}
}

func (c *countdown) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		close(c.done)
	}
	if c.left <= 0 {
		return context.Canceled
	}
	return nil
}

func (c *countdown) Done() <-chan struct{} { return c.done }

func TestStager_CleanRemovesLeftoversOfACrash(t *testing.T) {
	t.Parallel()
	s := newStager(t)
	r := request(t, buildSite(t, "zip"), "zip")
	if _, err := s.Stage(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	// What a crash leaves: a temporary folder with half of a bundle.
	left := filepath.Join(s.dir, tempPrefix+"0123456789ab-1", FilesDir, "a")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	again, err := NewStager(StagerOptions{Dir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	wantNothingLeft(t, again, r.SHA256)
	if _, ok := again.Staged(r.SHA256); !ok {
		t.Error("the staged bundle is gone")
	}
	// A running one's folder stays.
	dir, release, err := again.tempDir(r.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Clean(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("Clean removed a folder in use: %v", err)
	}
	release()
	wantNothingLeft(t, again, r.SHA256)
}
