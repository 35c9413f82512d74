package server

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"statiko/api"
	"statiko/reconcile"
)

// A drained node says so where load balancers look, and serves as before.
func TestDrain_OnlyReadyzTellsLoadBalancers(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	for _, path := range []string{"/drain", "/undrain"} {
		n.do(request{method: "POST", path: path, anonymous: true}).want(401)
		n.do(request{method: "POST", path: path, public: true}).want(404)
	}
	n.get("/readyz").want(200)
	n.post("/drain", nil).want(204)
	n.post("/drain", nil).want(204)
	for _, public := range []bool{false, true} {
		e := n.do(request{method: "GET", path: "/readyz", anonymous: true, public: public}).fails(api.CodeNotReady)
		if !strings.Contains(e.Message, "drained since") {
			t.Errorf("%q", e.Message)
		}
		n.do(request{method: "GET", path: "/healthz", anonymous: true, public: public}).want(200)
	}
	var s api.Status
	n.do(request{method: "GET", path: "/status", anonymous: true}).want(200).into(&s)
	if s.Draining == nil {
		t.Error("the status does not tell of it")
	}
	n.get("/status/docs.example.org").want(200)
	var all map[string]api.MemberStatus
	n.get("/clusterstatus").want(200).into(&all)
	for _, m := range all {
		if m.Draining == nil {
			t.Error("the cluster's status does not tell of it")
		}
	}
	n.site("more.example.org")

	n.post("/undrain", nil).want(204)
	n.post("/undrain", nil).want(204)
	n.get("/readyz").want(200)
	if n.server.Draining() {
		t.Error("still drained")
	}
}

func TestDrain_OfANodeThatStopsCannotBeUndone(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.post("/drain", nil).want(204)
	if since := n.server.Drain(); since.IsZero() || n.server.Drain() != since {
		t.Error("the time is not when it began")
	}
	if e := n.get("/readyz").fails(api.CodeNotReady); !strings.Contains(e.Message, "stopping") {
		t.Errorf("%q", e.Message)
	}
	n.post("/undrain", nil).fails(api.CodeStopping)
	n.get("/readyz").fails(api.CodeNotReady)
}

// playedHealth finds what it is told.
type playedHealth struct {
	Reconciler
	pending atomic.Bool
	probes  atomic.Int64
	probed  atomic.Value
	fault   atomic.Value
}

func (h *playedHealth) Pending() bool { return h.pending.Load() }
func (h *playedHealth) Probe(_ context.Context, domain string) {
	h.probes.Add(1)
	h.probed.Store(domain)
}
func (h *playedHealth) Site(domain string) reconcile.SiteStatus {
	is := h.Reconciler.Site(domain)
	if fault, _ := h.fault.Load().(string); fault != "" {
		is.Healthy, is.Err = false, fault
	}
	return is
}

// What visits find is what the status tells, and as long as they are to be made, something runs.
func TestStatus_TellsWhatVisitsFind(t *testing.T) {
	t.Parallel()
	h := &playedHealth{}
	n := start(t, func(o *Options) {
		h.Reconciler = o.Reconciler
		o.Health = h
	})
	n.site("docs.example.org")
	h.pending.Store(true)
	var s api.Status
	n.get("/status").want(200).into(&s)
	if !s.Sync.Running {
		t.Error("visits are pending, but nothing runs")
	}
	h.pending.Store(false)
	h.fault.Store("it does not answer")
	n.get("/status").want(503).into(&s)
	if s.Sync.Running || s.Health[0].Healthy || s.Health[0].Error != "it does not answer" {
		t.Errorf("%+v", s)
	}
	n.get("/status/docs.example.org").want(503)
	for _, q := range []request{
		{method: "GET", path: "/status?force=1", anonymous: true}, {method: "GET", path: "/status/docs.example.org?force=1", public: true},
	} {
		n.do(q).want(503)
	}
	if h.probes.Load() != 0 {
		t.Error("strangers had sites visited")
	}
	n.get("/status?force=1").want(503)
	n.site("more.example.org", "www.more.example.org")
	n.get("/status/www.more.example.org?force=1").want(503)
	if h.probes.Load() != 2 || h.probed.Load() != "more.example.org" {
		t.Errorf("%d probes, want 2; the last of %q", h.probes.Load(), h.probed.Load())
	}
}
