package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statiko/dhparams"
	"statiko/state"
)

// dhRecorder is a web server that takes DH parameters, and all changes at once.
type dhRecorder struct {
	*recorder
	texts []string
	fault error
}

func (s *dhRecorder) Batch() int { return 1 << 30 }

func (s *dhRecorder) SetDHParams(_ context.Context, pem string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.texts) == 0 || s.texts[len(s.texts)-1] != pem {
		s.texts = append(s.texts, pem)
	}
	return s.fault
}

func (s *dhRecorder) told() (texts []string) {
	s.set(func() { texts = slices.Clone(s.texts) })
	return texts
}

// A web server that can use DH parameters gets the published group at first, then the cluster's own; one that it cannot
// use is in the status and keeps no site back. It is told all changes of a pass in one call, if it wants that.
func TestDHParams_AreToldToTheWebServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := &dhRecorder{recorder: w.server}
	w.r = w.reconciler(server, func(o *Options) { o.DHBits = 3072 })
	var sites []*state.Site
	for i := range batch + 100 {
		sites = append(sites, newSite(fmt.Sprintf("s%d.test", i)))
	}
	w.restore(sites...)
	w.run()
	eventually(t, func() error {
		if n := len(w.server.words()); n != len(sites) {
			return fmt.Errorf("%d sites are served", n)
		}
		return nil
	})
	if calls := w.server.told(); calls[0] != len(sites) {
		t.Errorf("changes of each call: %v", calls)
	}
	if got := server.told(); len(got) != 1 || got[0] != dhparams.Builtin(3072).PEM() {
		t.Errorf("at first: %q", got)
	}
	own := dhparams.Builtin(2048).PEM()
	server.set(func() { server.fault = errors.New("too small") })
	rev := w.change(func(d *state.Draft) error {
		d.Put(&state.DHParams{Time: time.Unix(1700000000, 0).UTC(), PEM: own})
		return nil
	})
	eventually(t, func() error {
		if got := server.told(); len(got) != 2 || got[1] != own {
			return fmt.Errorf("told %d texts", len(got))
		}
		st := w.r.Status()
		if st.Revision < rev || st.Err == nil || !strings.Contains(st.Err.Error(), "too small") {
			return fmt.Errorf("status %+v", st)
		}
		return nil
	})
	w.served(w.put(newSite("late.test")), "late.test")
}
