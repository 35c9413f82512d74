package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/reconcile"
	"statiko/state"
)

func TestStatus_Shape(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *Options) {
		at := time.Date(2020, 6, 21, 8, 0, 5, 0, time.UTC)
		o.Now = func() time.Time { return at }
	})
	n.get("/status").want(200).same(`{"name":"edge-1","nginx":{"running":true},` +
		`"sync":{"running":false,"lastSync":"2020-06-21T08:00:05Z","revision":1},` +
		`"store":{"healthy":true,"type":"file","revision":1},"health":[],"leader":"edge-1","version":"v1 (test)"}`)
	n.app("docs-41")
	n.site("soon.example.org")
	n.site("docs.example.org", "www.docs.example.org")
	n.site("shop.example.org")
	n.post("/site/docs.example.org/app", `{"name":"docs-41"}`).want(204)
	n.reconciler.set(func(p *played) {
		p.sites["shop.example.org"] = reconcile.SiteStatus{Domain: "shop.example.org", Err: "bundle is missing", Serving: "old"}
	})
	var st struct{ Health json.RawMessage }
	n.get("/status").want(200).into(&st)
	const at = `"time":"2020-09-13T12:26:40Z"`
	want := `[{"domain":"docs.example.org","app":"docs-41","healthy":true,` + at + `},` +
		`{"domain":"shop.example.org","app":null,"healthy":false,"error":"bundle is missing","serving":"old"},` +
		`{"domain":"soon.example.org","app":null,"healthy":true,` + at + `}]`
	if got := strings.ReplaceAll(string(st.Health), zone(), "Z"); got != want {
		t.Errorf("health\n%s\nwant\n%s", got, want)
	}
	var cluster map[string]api.Status
	n.get("/clusterstatus").want(200).into(&cluster)
	if s, ok := cluster["00000000-0000-0000-0000-000000000000"]; len(cluster) != 1 || !ok || len(s.Health) != 3 || s.Name != "edge-1" {
		t.Errorf("cluster %+v", cluster)
	}
}

// zone is how this machine's offset is written at the time of the tests' probes.
func zone() string {
	return time.Unix(1_600_000_000, 0).Format("2006-01-02T15:04:05Z07:00")[len("2020-09-13T12:26:40"):]
}

func TestStatus_HidesNamesFromStrangers(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.app("docs-41")
	n.site("blog.example.com")
	n.site("localhost")
	n.post("/site/blog.example.com/app", `{"name":"docs-41"}`).want(204)
	n.reconciler.set(func(p *played) {
		p.status.Err = errors.New("secret-path")
		p.sites["blog.example.com"] = reconcile.SiteStatus{Err: "secret-reason", Serving: "docs-40"}
	})
	for _, q := range []request{
		{method: "GET", path: "/status", anonymous: true},
		{method: "GET", path: "/status", public: true},
		{method: "GET", path: "/status/blog.example.com", anonymous: true},
	} {
		a := n.do(q)
		for _, secret := range []string{"secret", "docs-4", "leader"} {
			if strings.Contains(string(a.body), secret) {
				t.Errorf("%s shows %q: %s", a.asked, secret, a.body)
			}
		}
		var st api.Status
		a.into(&st)
		shown := st.Health[0]
		want := "bl**.ex**.com"
		if strings.HasSuffix(q.path, ".com") {
			want = "blog.example.com"
		}
		if shown.Domain != want || *shown.App != "<hidden>" || shown.Error != "<hidden error>" {
			t.Errorf("%s shows %+v", a.asked, shown)
		}
	}
}

func TestW24_OneCharacterLabels(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("a.example.org")
	a := n.do(request{method: "GET", path: "/status", anonymous: true}).want(200)
	if !strings.Contains(string(a.body), `"a**.ex**.org"`) {
		t.Errorf("answer %s", a.body)
	}
	for domain, want := range map[string]string{"a": "a**", "ab": "ab**", "a.b": "a**.b", "abc.de.f": "ab**.de**.f", "": "**"} {
		if got := maskDomain(domain); got != want {
			t.Errorf("%q is shown as %q, want %q", domain, got, want)
		}
	}
}

func TestW41_StatusOfABrokenSiteIs503(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("good.example.org", "alias.example.org")
	n.site("bad.example.org")
	n.reconciler.set(func(p *played) {
		p.sites["bad.example.org"] = reconcile.SiteStatus{Err: "broken", Time: time.Now()}
	})
	n.get("/status/good.example.org").want(200)
	n.get("/status/ALIAS.example.org").want(200)
	a := n.get("/status/bad.example.org").want(503)
	var st api.Status
	if a.into(&st); len(st.Health) != 1 || st.Health[0].Error != "broken" {
		t.Errorf("answer %s", a.body)
	}
	n.get("/status/none.example.org").fails(api.CodeNotFound)
	n.do(request{method: "GET", path: "/status/none.example.org", anonymous: true}).fails(api.CodeNotFound)
}

func TestStatus_503OnlyWhenNothingIsServed(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.app("docs-41")
	n.site("a.example.org")
	n.site("b.example.org")
	n.post("/site/a.example.org/app", `{"name":"docs-41"}`).want(204)
	broken := func(domain string) {
		n.reconciler.set(func(p *played) { p.sites[domain] = reconcile.SiteStatus{App: "docs-41", Err: "broken"} })
	}
	n.get("/status").want(200)
	broken("a.example.org")
	// A healthy placeholder does not count, so that all that counts is broken.
	n.get("/status").want(503)
	n.post("/site/b.example.org/app", `{"name":"docs-41"}`).want(204)
	n.get("/status").want(200)
	broken("b.example.org")
	n.get("/status").want(503)

	fresh := start(t, nil)
	fresh.web.Running = false
	fresh.web.Err = errors.New("the port is taken")
	a := fresh.get("/status").want(503)
	if !strings.Contains(string(a.body), `"nginx":{"running":false,"error":"the port is taken"}`) {
		t.Errorf("answer %s", a.body)
	}
}

func TestW40_RunningIsTrueRightAfterAChange(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("old.example.org")
	applied := n.store.Snapshot().Revision()
	n.reconciler.set(func(p *played) {
		p.follow = false
		p.status.Revision = applied
		p.sites["old.example.org"] = reconcile.SiteStatus{Healthy: true, Time: time.Now()}
	})
	running := func() bool {
		var st api.Status
		n.get("/status").into(&st)
		return st.Sync.Running
	}
	if running() {
		t.Error("running though all is applied")
	}
	n.site("new.example.org")
	if !running() {
		t.Error("not running right after a change")
	}
	// The new site is listed, says that it waits, and is no reason for a load balancer to leave.
	var st api.Status
	n.get("/status").want(200).into(&st)
	if h := st.Health[0]; h.Domain != "new.example.org" || h.Healthy || h.Error == "" {
		t.Errorf("health %+v", st.Health)
	}
	n.reconciler.set(func(p *played) {
		p.status = reconcile.Status{Revision: n.store.Snapshot().Revision(), Err: errors.New("no luck"), LastSync: time.Now()}
	})
	if running() {
		t.Error("still running after a sync that failed")
	}
	if a := n.get("/status"); !strings.Contains(string(a.body), `"syncError":"no luck"`) {
		t.Errorf("answer %s", a.body)
	}
}

// away is a store whose backend is lost.
type away struct{ state.Store }

func (away) Health() state.Health { return state.Health{Reason: "the disk is gone", Backend: "file"} }
func (away) Update(context.Context, func(*state.Draft) error, ...state.UpdateOption) (int64, error) {
	return 0, fmt.Errorf("write: %w", state.ErrUnavailable)
}

func TestStoreAway_SitesAreServedAndChangesSay503(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	lost := *n.server
	o := lost.Options
	o.Store, o.PSK = away{n.store}, testPSK
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.url = serve(t, s.Handler())
	a := n.get("/status").want(200)
	if !strings.Contains(string(a.body), `"store":{"healthy":false,"type":"file","reason":"the disk is gone"`) {
		t.Errorf("answer %s", a.body)
	}
	n.get("/status/docs.example.org").want(200)
	n.get("/site").want(200)
	a = n.post("/site", `{"domain":"b.example.org"}`)
	a.fails(api.CodeUnavailable)
	if a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

func TestW38_ClusterStatusChangesNothing(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	before := n.get("/status").want(200).body
	for range 3 {
		n.get("/clusterstatus").want(200)
	}
	if after := n.get("/status").want(200).body; string(before) != string(after) {
		t.Errorf("status\n%s\nbefore\n%s", after, before)
	}
}

func TestW54_ForceIsForTheAuthenticated(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	for _, q := range []request{
		{method: "GET", path: "/status?force=1", anonymous: true},
		{method: "GET", path: "/status?force=1", public: true},
		{method: "GET", path: "/status?force=1", anonymous: true, header: map[string]string{"Authorization": "wrong"}},
		{method: "GET", path: "/status/docs.example.org?force=yes", anonymous: true},
		{method: "GET", path: "/status?force=TRUE"},
	} {
		n.do(q).want(200)
	}
	if n.reconciler.syncs != 0 {
		t.Errorf("strangers caused %d looks", n.reconciler.syncs)
	}
	n.get("/status?force=1").want(200)
	if n.reconciler.syncs != 1 {
		t.Errorf("%d looks, want 1", n.reconciler.syncs)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	var reason error
	n := start(t, func(o *Options) { o.Ready = func() error { return reason } })
	n.do(request{method: "GET", path: "/healthz", anonymous: true}).want(200)
	n.do(request{method: "GET", path: "/readyz", anonymous: true}).want(200)
	reason = errors.New("the first sync has not ended")
	a := n.do(request{method: "GET", path: "/readyz", anonymous: true})
	if e := a.fails(api.CodeNotReady); !strings.Contains(e.Message, "first sync") || a.header.Get("Retry-After") == "" {
		t.Errorf("answer %s %v", a.body, a.header)
	}
	n.do(request{method: "GET", path: "/healthz", anonymous: true}).want(200)

	// Before the first sync ends the API answers, and says that it is not ready.
	reason = nil
	n.reconciler.set(func(p *played) { p.follow = false })
	n.get("/readyz").fails(api.CodeNotReady)
	n.get("/site").want(200)
	n.site("docs.example.org")
	n.reconciler.set(func(p *played) { p.follow = true })
	n.get("/readyz").want(200)
	n.web.Running = false
	n.get("/readyz").fails(api.CodeNotReady)
}

func BenchmarkStatus10000Sites(b *testing.B) {
	n := start(b, nil)
	for i := 0; i < 10_000; i += 40 {
		if _, err := n.store.Update(b.Context(), func(d *state.Draft) error {
			for j := i; j < i+40; j++ {
				if err := d.Put(&state.Site{Domain: fmt.Sprintf("site-%d.example.org", j)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		n.do(request{method: "GET", path: "/status", anonymous: true}).want(200)
	}
}
