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

var closeTests = []test{
	{"AClosedStoreStillReads", func(t *testing.T, h *Harness) {
		put(t, h.Store, site("a.test"))
		for range 2 {
			if err := h.Store.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := h.Store.Snapshot().Site("a.test"); !ok {
			t.Fatal("the snapshot is empty")
		}
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site("b.test")) })
		wantErr(t, err, state.ErrUnavailable)
		_, err = h.Store.Update(context.Background(), func(d *state.Draft) error { return nil })
		wantErr(t, err, state.ErrUnavailable)
		_, err = h.Store.Restore(context.Background(), document(t), 0)
		wantErr(t, err, state.ErrUnavailable)
		_, err = h.Store.Wait(context.Background(), h.Store.Snapshot().Revision())
		wantErr(t, err, state.ErrUnavailable)
	}},
	{"ClosingEndsWaiting", func(t *testing.T, h *Harness) {
		done := make(chan error, 1)
		revision := h.Store.Snapshot().Revision()
		go func() {
			_, err := h.Store.Wait(context.Background(), revision)
			done <- err
		}()
		if err := h.Store.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			wantErr(t, err, state.ErrUnavailable)
		case <-time.After(10 * time.Second):
			t.Fatal("Wait goes on")
		}
	}},
	{"WhatWasAcknowledgedWhileClosingIsKept", func(t *testing.T, h *Harness) {
		store := h.Store
		var mu sync.Mutex
		acknowledged, refused := map[string]bool{}, map[string]bool{}
		started := make(chan struct{}, 8)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					domain := fmt.Sprintf("w%d-%d.test", w, i)
					_, err := store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site(domain)) })
					mu.Lock()
					if err == nil {
						acknowledged[domain] = true
					} else {
						if !errors.Is(err, state.ErrUnavailable) {
							t.Errorf("got %v, want ErrUnavailable", err)
						}
						refused[domain] = true
					}
					mu.Unlock()
					if i == 3 {
						started <- struct{}{}
					}
					if err != nil {
						return
					}
				}
			})
		}
		for range 8 {
			<-started
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		s := store.Snapshot()
		if h.Reopen != nil {
			s = h.Reopen().Snapshot()
		}
		for domain := range acknowledged {
			if _, ok := s.Site(domain); !ok {
				t.Fatalf("%s was acknowledged and is missing", domain)
			}
		}
		for domain := range refused {
			if _, ok := s.Site(domain); ok {
				t.Fatalf("%s was refused and is there", domain)
			}
		}
	}},
}
