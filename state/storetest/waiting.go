package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"statiko/state"
)

var waitingTests = []test{
	{"ReturnsAtOnceWhatIsNewer", func(t *testing.T, h *Harness) {
		revision := put(t, h.Store, site("a.test"))
		s, err := h.Store.Wait(context.Background(), revision-1)
		if err != nil || s.Revision() < revision {
			t.Fatalf("got %v, %v", s, err)
		}
	}},
	{"WakesEverybodyForAChange", func(t *testing.T, h *Harness) {
		revision := put(t, h.Store, site("a.test"))
		var waiting sync.WaitGroup
		for range 50 {
			waiting.Go(func() {
				s, err := h.Store.Wait(context.Background(), revision)
				if err != nil || s.Revision() <= revision {
					t.Errorf("got %v, %v", s, err)
					return
				}
				if _, ok := s.Site("b.test"); !ok {
					t.Error("the change is not in the snapshot")
				}
			})
		}
		put(t, h.Store, site("b.test"))
		within(t, 20*time.Second, "waking", waiting.Wait)
	}},
	{"DoesNotReturnWithoutAChange", func(t *testing.T, h *Harness) {
		revision := put(t, h.Store, site("a.test"))
		put(t, h.Store, site("a.test"))
		_ = update(t, h.Store, func(d *state.Draft) error { d.Site("a.test"); return nil })
		if now := h.Store.Snapshot().Revision(); now != revision {
			t.Fatalf("revision %d after updates that changed nothing at %d", now, revision)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if s, err := h.Store.Wait(ctx, revision); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, %v", s, err)
		}
	}},
	{"EndsWithItsContext", func(t *testing.T, h *Harness) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			_, err := h.Store.Wait(ctx, h.Store.Snapshot().Revision())
			done <- err
		}()
		cancel()
		select {
		case err := <-done:
			wantErr(t, err, context.Canceled)
		case <-time.After(10 * time.Second):
			t.Fatal("Wait does not end with its context")
		}
	}},
	{"ABurstCollapsesAndASlowReaderBlocksNobody", func(t *testing.T, h *Harness) {
		const changes = 300
		last := h.Store.Snapshot().Revision()
		release := make(chan struct{})
		looks := 0
		done := make(chan error, 1)
		go func() {
			for {
				s, err := h.Store.Wait(context.Background(), last)
				if err != nil {
					done <- err
					return
				}
				looks++
				last = s.Revision()
				if _, ok := s.Site(fmt.Sprintf("n%d.test", changes-1)); ok {
					done <- nil
					return
				}
				<-release
			}
		}()
		for i := range changes {
			put(t, h.Store, site(fmt.Sprintf("n%d.test", i)))
		}
		close(release)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if looks > changes/2 {
				t.Fatalf("%d looks for %d changes", looks, changes)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the newest change was never seen")
		}
	}},
}
