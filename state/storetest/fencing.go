package storetest

import (
	"context"
	"testing"

	"statiko/state"
)

var fenceTests = []test{
	{"ATermThatLastsPasses", func(t *testing.T, h *Harness) {
		fence, end := newTerm(t, h)
		defer end()
		for _, domain := range []string{"a.test", "b.test"} {
			if _, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site(domain)) }, state.WithFence(fence)); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"ATermThatIsOverIsRefused", func(t *testing.T, h *Harness) {
		fence, end := newTerm(t, h)
		end()
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site("a.test")) }, state.WithFence(fence))
		wantErr(t, err, state.ErrFenced)
		noSites(t, h)
		// Another term is not disturbed.
		next, endNext := newTerm(t, h)
		defer endNext()
		if _, err := h.Store.Update(context.Background(), func(d *state.Draft) error { return d.Put(site("b.test")) }, state.WithFence(next)); err != nil {
			t.Fatal(err)
		}
	}},
	{"ATermThatEndsMeanwhileIsRefused", func(t *testing.T, h *Harness) {
		fence, end := newTerm(t, h)
		_, err := h.Store.Update(context.Background(), func(d *state.Draft) error {
			end()
			return d.Put(site("a.test"))
		}, state.WithFence(fence))
		wantErr(t, err, state.ErrFenced)
		noSites(t, h)
	}},
}

func newTerm(t *testing.T, h *Harness) (state.Fence, func()) {
	if h.NewTerm == nil {
		t.Skip("the harness has no terms")
	}
	return h.NewTerm()
}

func noSites(t *testing.T, h *Harness) {
	t.Helper()
	if n := h.Store.Snapshot().Len(state.KindSite); n != 0 {
		t.Fatalf("%d sites were stored", n)
	}
}
