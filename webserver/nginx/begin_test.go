package nginx

import (
	"errors"
	"testing"
	"time"
)

// A node that starts knows its sites only after a moment. Who comes before waits, and is not told that there is no site.
func TestBegin_VisitorsWaitUntilAllSitesAreKnown(t *testing.T) {
	t.Parallel()
	known := make(chan struct{})
	s := launchOnly(t, complete(t, Options{Complete: known, Timeouts: Timeouts{Begin: time.Minute}}))
	type answer struct {
		status int
		body   string
		err    error
	}
	early := make(chan answer, 1)
	go func() {
		status, body, err := get(s, "a.test", "/")
		early <- answer{status, body, err}
	}()
	// What is applied meanwhile is tested, and what nginx refuses is named.
	apply(t, s, stage(t, newSite(t, "a.test"), map[string]string{"index.html": "a"}))
	apply(t, s, stage(t, newSite(t, "b.test"), map[string]string{"index.html": "b"}))
	if s.Status().Running {
		t.Error("nginx serves before all sites are known")
	}
	select {
	case a := <-early:
		t.Fatalf("a visitor is answered before: %+v", a)
	default:
	}
	close(known)
	if a := <-early; a.err != nil || a.status != 200 || a.body != "a" {
		t.Errorf("the visitor who waited: %+v", a)
	}
	wantBody(t, s, "b.test", "/", "b")
	eventually(t, func() error { return s.Status().Err })
	apply(t, s, stage(t, newSite(t, "c.test"), map[string]string{"index.html": "c"}))
	wantBody(t, s, "c.test", "/", "c")
}

func TestBegin_NginxIsStartedAfterAWhileAllTheSame(t *testing.T) {
	t.Parallel()
	s := launchOnly(t, complete(t, Options{Complete: make(chan struct{}), Timeouts: Timeouts{Begin: 50 * time.Millisecond}}))
	eventually(t, func() error {
		if st := s.Status(); !st.Running {
			return errors.Join(errors.New("nginx is not started"), st.Err)
		}
		return nil
	})
}
