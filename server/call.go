package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"statiko/api"
	"statiko/state"
)

// call is one request on its way through the server.
type call struct {
	w *recorder
	r *http.Request
	// route is the pattern that the request matched; "" before that is known.
	route string
	// authenticated tells whether the caller proved who it is.
	authenticated bool
	// node is the name of the node that calls; "" for people.
	node string
	// wait is how long a change waits until it is applied; 0 means not at all.
	wait time.Duration
}

type callKey struct{}

// callOf returns what chain put into the request.
func callOf(r *http.Request) *call {
	c, _ := r.Context().Value(callKey{}).(*call)
	return c
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// setRevision says which revision the answer is about.
func (c *call) setRevision(revision int64) {
	c.w.Header().Set(api.HeaderRevision, strconv.FormatInt(revision, 10))
}

// snapshot returns the newest state, and says that the answer is made from it.
func (s *Server) snapshot(c *call) *state.Snapshot {
	snap := s.Store.Snapshot()
	c.setRevision(snap.Revision())
	return snap
}

// update changes the state and says at which revision.
func (s *Server) update(c *call, change func(*state.Draft) error) (int64, error) {
	revision, err := s.Store.Update(c.r.Context(), change)
	if revision > 0 {
		c.setRevision(revision)
	}
	return revision, err
}

// Limits of waiting.
const (
	// maxWait bounds ?wait=, so that no connection is held for ever.
	maxWait = 600 * time.Second
	// maxRevisionWait bounds how long a node may lag behind what a caller has seen elsewhere.
	maxRevisionWait = 10 * time.Second
	// healthEvery is how often a change that waits for a revision looks whether the store takes changes.
	healthEvery = 200 * time.Millisecond
)

// readWait reads ?wait=, in seconds.
func (c *call) readWait() error {
	text := c.r.URL.Query().Get("wait")
	if text == "" {
		return nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0) {
		return malformed("wait is %s, not a number of seconds", printable(text))
	}
	c.wait = time.Duration(min(seconds, maxWait.Seconds()) * float64(time.Second))
	return nil
}

// applied waits, if the caller asked for it, until every node that is up serves what was committed at the revision.
// It says whether all nodes of the cluster do and, if not, which do not.
func (s *Server) applied(c *call, revision int64, domain string) {
	if c.wait == 0 {
		return
	}
	ctx, cancel := s.waiting(c, c.wait)
	defer cancel()
	c.setApplied(s.Cluster.WaitApplied(ctx, revision, domain))
}

// setApplied says who has not applied a change.
func (c *call) setApplied(waiting []api.Waiting) {
	h := c.w.Header()
	h.Set(api.HeaderApplied, strconv.FormatBool(len(waiting) == 0))
	if len(waiting) > 0 {
		h.Set(api.HeaderWaiting, api.FormatWaiting(waiting))
	}
}

// waiting returns the request's context, bounded, and ended early by EndWaits.
func (s *Server) waiting(c *call, bound time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(c.r.Context(), bound)
	stop := context.AfterFunc(s.serving, cancel)
	return ctx, func() { stop(); cancel() }
}

// waitForRevision waits until this node knows what the caller has seen, perhaps from another node. A change does not wait
// while the store takes none.
func (s *Server) waitForRevision(c *call) error {
	text := c.r.Header.Get(api.HeaderMinRevision)
	if text == "" {
		return nil
	}
	want, err := strconv.ParseInt(text, 10, 64)
	if err != nil || want < 0 {
		return malformed("%s is %s, not a revision", api.HeaderMinRevision, printable(text))
	}
	snap := s.Store.Snapshot()
	ctx, cancel := s.waiting(c, maxRevisionWait)
	defer cancel()
	for snap.Revision() < want {
		if h := s.Store.Health(); !h.Healthy && c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
			// It would be refused after the wait.
			return fmt.Errorf("%w: %s", state.ErrUnavailable, h.Reason)
		}
		step, stop := context.WithTimeout(ctx, healthEvery)
		next, err := s.Store.Wait(step, snap.Revision())
		over := step.Err() == nil || ctx.Err() != nil
		stop()
		switch {
		case err == nil:
			snap = next
		case over:
			return api.Errorf(api.CodeNotReady, "this node knows the state up to revision %d, not yet %d", snap.Revision(), want)
		}
	}
	c.setRevision(snap.Revision())
	return nil
}

// truthy tells whether a query value means yes.
func truthy(value string) bool {
	switch value {
	case "1", "true", "t", "y", "yes":
		return true
	}
	return false
}
