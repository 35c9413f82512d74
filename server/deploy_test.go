package server

import (
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/bundle"
	"statiko/state"
)

func TestDeploy(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org", "www.docs.example.org")
	n.app("docs-41")
	deploy := func(domain, body string) *answer { return n.post("/site/"+domain+"/app", body) }

	deploy("none.example.org", "not even JSON").fails(api.CodeNotFound) // before the body
	deploy("docs.example.org", "").fails(api.CodeMalformed)
	deploy("docs.example.org", `{}`).fails(api.CodeInvalid, "name")
	deploy("docs.example.org", `{"name":"../../etc"}`).fails(api.CodeInvalid, "name")
	deploy("docs.example.org", `{"name":"docs-42"}`).fails(api.CodeInvalid, "name")
	deploy("docs.example.org", `{"name":5}`).fails(api.CodeInvalid, "name")
	n.get("/site/docs.example.org").same(`{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"selfsigned"},"app":null}`)

	a := deploy("WWW.docs.example.org", `{"name":"DOCS-41"}`).want(204)
	if len(a.body) != 0 || a.header.Get(api.HeaderApplied) != "" {
		t.Errorf("answer %v %q", a.header, a.body)
	}
	n.get("/site/docs.example.org").same(`{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"selfsigned"},"app":{"name":"docs-41"}}`)
	n.do(request{method: "PUT", path: "/site/docs.example.org/app", body: `{"name":"docs-41"}`}).want(204)

	n.do(request{method: "DELETE", path: "/app/docs-41"}).fails(api.CodeInUse)
	n.do(request{method: "DELETE", path: "/site/docs.example.org"}).want(204)
	n.do(request{method: "DELETE", path: "/app/docs-41"}).want(204)
}

func TestDeploy_ManifestFaultsAreToldWithTheirLines(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	archive := zipped(t, map[string]string{"index.html": "x",
		"_statiko.yaml": "rules:\n  - prefix: /a\n    options: {denyy: true}\n  - match: \"(\"\n"})
	if a := n.upload(part{"name", "broken"}, part{"type", "zip"}, part{"file", string(archive)}); a.status != 204 {
		a.fails(api.CodeInvalid) // refusing it at the upload is as good
		return
	}
	e := n.post("/site/docs.example.org/app", `{"name":"broken"}`).fails(api.CodeInvalid)
	if len(e.Details) < 2 || e.Details[0].Line != 3 {
		t.Errorf("details %+v", e.Details)
	}
	n.post("/site", `{"domain":"new.example.org","app":{"name":"broken"}}`).fails(api.CodeInvalid)
	n.get("/site/new.example.org").fails(api.CodeNotFound)
}

// swapping is a library whose bundle changes while it is being checked.
type swapping struct {
	Library
	store state.Store
	times int
}

func (l *swapping) CheckDeploy(ctx context.Context, app *state.App) error {
	if l.times--; l.times >= 0 {
		changed := app.Clone()
		changed.Signature += "QQ=="
		if _, err := l.store.Update(ctx, func(d *state.Draft) error { return d.Put(changed) }); err != nil {
			return err
		}
	}
	return l.Library.CheckDeploy(ctx, app)
}

func (l *swapping) Spool(ctx context.Context, r io.Reader) (*bundle.Spool, error) {
	return l.Library.Spool(ctx, r)
}

func TestDeploy_BundleChangedWhileItWasChecked(t *testing.T) {
	t.Parallel()
	for times, code := range map[int]string{2: "", 1000: api.CodeConflict} {
		var s *swapping
		n := start(t, func(o *Options) {
			s = &swapping{Library: o.Library, store: o.Store, times: times}
			o.Library = s
		})
		n.site("docs.example.org")
		n.app("docs-1")
		a := n.post("/site/docs.example.org/app", `{"name":"docs-1"}`)
		if code != "" {
			a.fails(code)
		} else {
			a.want(204)
		}
	}
}

func TestW30_ChangesDoNotWaitUnlessAsked(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.reconciler.set(func(p *played) { p.follow = false }) // a sync that never ends
	began := time.Now()
	n.site("docs.example.org")
	n.post("/sync", nil).want(204)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("changes took %s beside a sync that does not end", took)
	}
	a := n.do(request{method: "PATCH", path: "/site/docs.example.org?wait=0.05", body: `{"aliases":["a.example.org"]}`}).want(200)
	if a.header.Get(api.HeaderApplied) != "false" {
		t.Errorf("headers %v", a.header)
	}
	n.reconciler.set(func(p *played) { p.follow = true })
	a = n.post("/site?wait=60", api.SiteCreate{Domain: "b.example.org"}).want(200)
	if a.header.Get(api.HeaderApplied) != "true" {
		t.Errorf("headers %v", a.header)
	}
	a = n.post("/sync?wait=5", nil).want(204)
	if a.header.Get(api.HeaderApplied) != "true" || n.reconciler.syncs != 2 {
		t.Errorf("headers %v, %d syncs", a.header, n.reconciler.syncs)
	}
	for _, wait := range []string{"x", "-1", "NaN", "1s"} {
		n.post("/site?wait="+wait, api.SiteCreate{Domain: "c.example.org"}).fails(api.CodeMalformed)
	}
	n.get("/site/c.example.org").fails(api.CodeNotFound)
}

func TestMinRevision(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("a.example.org")
	ask := func(revision string) *answer {
		return n.do(request{method: "GET", path: "/site", header: map[string]string{api.HeaderMinRevision: revision}})
	}
	now := n.get("/site").header.Get(api.HeaderRevision)
	ask(now).want(200)
	ask("0").want(200)
	ask("-1").fails(api.CodeMalformed)
	ask("soon").fails(api.CodeMalformed)
	answered := make(chan *answer)
	at, err := strconv.Atoi(now)
	if err != nil {
		t.Fatal(err)
	}
	go func() { answered <- ask(strconv.Itoa(at + 1)) }()
	n.site("b.example.org")
	if a := (<-answered).want(200); !strings.Contains(string(a.body), "b.example.org") {
		t.Errorf("the answer is older than what was asked for: %s", a.body)
	}
}
