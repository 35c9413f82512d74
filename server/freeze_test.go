package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/filestore"
	"statiko/state"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// startGated starts a node whose store has a gate.
func startGated(t testing.TB) (*node, *Gate, *clock) {
	t.Helper()
	c := &clock{now: epoch}
	var g *Gate
	n := start(t, func(o *Options) {
		g = NewGate(o.Store, c.Now)
		o.Store = g
	})
	return n, g, c
}

func (n *node) freeze(body api.Freeze) api.Frozen {
	n.t.Helper()
	var f api.Frozen
	n.post("/freeze", body).want(200).into(&f)
	return f
}

func TestFreeze_ChangesAreRefusedAndReadingGoesOn(t *testing.T) {
	t.Parallel()
	n, g, c := startGated(t)
	n.site("docs.example.org")
	f := n.freeze(api.Freeze{Seconds: 90, Reason: "it is moved to etcd"})
	if f.Token == "" || !f.Until.Equal(epoch.Add(90*time.Second)) || f.Revision != n.store.Snapshot().Revision() || f.Store != "file" || f.File != n.store.Path() {
		t.Errorf("answer %+v", f)
	}
	before := n.store.Snapshot().Revision()
	for _, q := range []request{
		{method: "POST", path: "/site", body: api.SiteCreate{Domain: "b.example.org"}},
		{method: "DELETE", path: "/site/docs.example.org"},
		{method: "PATCH", path: "/site/docs.example.org", body: `{"aliases":["x.example.org"]}`},
		{method: "POST", path: "/state", body: `{"sites":[]}`},
		{method: "POST", path: "/app", body: "any", contentType: "multipart/form-data; boundary=x"},
	} {
		a := n.do(q)
		e := a.fails(api.CodeFrozen)
		if !strings.Contains(e.Message, "it is moved to etcd") || !strings.Contains(e.Message, "2026-01-02T03:05:35Z") || a.header.Get("Retry-After") != "90" {
			t.Errorf("%s: %q, Retry-After %q", a.asked, e.Message, a.header.Get("Retry-After"))
		}
	}
	// Those who do not come through the API too.
	_, err := g.Update(context.Background(), func(*state.Draft) error { return nil })
	if !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("an update of a duty: %v", err)
	}
	if now := n.store.Snapshot().Revision(); now != before {
		t.Errorf("revision %d became %d", before, now)
	}
	n.get("/site/docs.example.org").want(200)
	n.get("/state").want(200)
	n.do(request{method: "POST", path: "/state?dryRun=1", body: `{"sites":[]}`}).want(200)
	n.post("/sync", nil).want(204)
	var s api.Status
	n.get("/status").want(200).into(&s)
	if s.Store.Healthy || !strings.Contains(s.Store.Reason, "it is moved to etcd") {
		t.Errorf("status %+v", s.Store)
	}
	n.get("/readyz").want(200)

	// It ends by itself.
	c.forward(89 * time.Second)
	n.post("/site", api.SiteCreate{Domain: "b.example.org"}).fails(api.CodeFrozen)
	c.forward(time.Second)
	n.site("b.example.org")
	n.get("/status").want(200).into(&s)
	if !s.Store.Healthy {
		t.Errorf("status %+v", s.Store)
	}
	// Who comes too late cannot go on as if nothing had happened.
	n.post("/freeze", api.Freeze{Seconds: 10, Token: f.Token}).fails(api.CodeConflict)
	n.post("/freeze", api.Freeze{Token: f.Token, Moved: &api.Moved{Target: "etcd"}}).fails(api.CodeConflict)
}

func TestFreeze_BelongsToWhoBeganIt(t *testing.T) {
	t.Parallel()
	n, _, c := startGated(t)
	for _, seconds := range []int{0, -1, 601} {
		n.post("/freeze", api.Freeze{Seconds: seconds}).fails(api.CodeInvalid, "seconds")
	}
	n.post("/freeze", api.Freeze{Seconds: 1, Reason: strings.Repeat("x", 501)}).fails(api.CodeInvalid, "reason")
	n.do(request{method: "POST", path: "/freeze", body: api.Freeze{Seconds: 1}, anonymous: true}).fails(api.CodeUnauthorized)
	n.post("/unfreeze", api.Unfreeze{}).want(204) // nothing to end

	f := n.freeze(api.Freeze{Seconds: 10})
	n.post("/freeze", api.Freeze{Seconds: 10}).fails(api.CodeConflict)
	n.post("/freeze", api.Freeze{Seconds: 10, Token: "other"}).fails(api.CodeConflict)
	n.post("/unfreeze", api.Unfreeze{Token: "other"}).fails(api.CodeConflict)
	n.post("/unfreeze", api.Unfreeze{}).fails(api.CodeConflict)
	c.forward(9 * time.Second)
	if again := n.freeze(api.Freeze{Seconds: 10, Token: f.Token}); again.Token != f.Token || again.Until.Sub(f.Until) != 9*time.Second {
		t.Errorf("prolonged: %+v after %+v", again, f)
	}
	n.post("/unfreeze", api.Unfreeze{Token: f.Token}).want(204)
	n.site("a.example.org")
	n.freeze(api.Freeze{Seconds: 10})
	n.post("/unfreeze", api.Unfreeze{Force: true}).want(204)
	n.site("b.example.org")
}

func TestFreeze_WaitsForChangesUnderWay(t *testing.T) {
	t.Parallel()
	n, g, _ := startGated(t)
	inside, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := g.Update(context.Background(), func(d *state.Draft) error {
			close(inside)
			<-goOn
			return d.Put(&state.Site{Domain: "slow.example.org", TLS: &state.SiteTLS{Type: state.TLSSelfSigned}})
		})
		ended <- err
	}()
	<-inside
	// One that does not end in time keeps the node from being frozen.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := g.freeze(ctx, "", "", time.Hour); !errors.Is(err, state.ErrUnavailable) || g.Frozen() != nil {
		t.Errorf("with a change under way: %v, frozen %v", err, g.Frozen())
	}
	frozen := make(chan freeze, 1)
	go func() {
		f, err := g.freeze(context.Background(), "", "", time.Hour)
		if err != nil {
			t.Error(err)
		}
		frozen <- f
	}()
	for g.Frozen() == nil {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-frozen:
		t.Error("frozen while a change is under way")
	default:
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-frozen
	if _, ok := n.store.Snapshot().Site("slow.example.org"); !ok {
		t.Error("the change under way was lost")
	}
}

func TestFreeze_MovedForGood(t *testing.T) {
	t.Parallel()
	n, _, c := startGated(t)
	n.site("docs.example.org")
	f := n.freeze(api.Freeze{Seconds: 10})
	digest, err := filestore.Digest(n.store.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	moved := api.Moved{Target: "etcd at http://e:2379", TargetID: "ID", Revision: f.Revision, Digest: digest}
	for _, wrong := range []api.Moved{
		{Target: moved.Target, Revision: f.Revision + 1, Digest: digest}, {Target: moved.Target, Revision: f.Revision, Digest: "other"},
	} {
		n.post("/freeze", api.Freeze{Token: f.Token, Moved: &wrong}).fails(api.CodePrecondition)
	}
	n.post("/freeze", api.Freeze{Token: f.Token, Moved: &api.Moved{}}).fails(api.CodeInvalid, "moved.target")
	n.post("/freeze", api.Freeze{Token: "other", Moved: &moved}).fails(api.CodeConflict)
	n.post("/freeze", api.Freeze{Moved: &moved}).fails(api.CodeConflict)
	if m, err := n.store.Moved(); m != nil || err != nil {
		t.Fatalf("marked: %v, %v", m, err)
	}
	for range 2 {
		if answer := n.freeze(api.Freeze{Token: f.Token, Moved: &moved}); !answer.Until.IsZero() || answer.Token != f.Token {
			t.Errorf("answer %+v", answer)
		}
	}
	m, err := n.store.Moved()
	if err != nil || m == nil || m.Target != moved.Target || m.TargetID != "ID" || m.Revision != f.Revision || m.KeyID != n.keyring.ID() {
		t.Fatalf("marker %+v, %v", m, err)
	}
	c.forward(time.Hour)
	e := n.post("/site", api.SiteCreate{Domain: "b.example.org"}).fails(api.CodeFrozen)
	if !strings.Contains(e.Message, moved.Target) || !strings.Contains(e.Message, "stop this node") {
		t.Errorf("message %q", e.Message)
	}
	n.post("/unfreeze", api.Unfreeze{Token: f.Token}).fails(api.CodeConflict)
	n.post("/unfreeze", api.Unfreeze{Force: true}).fails(api.CodeConflict)
	// Somebody wants the file back.
	if err := n.store.ForgetMoved(); err != nil {
		t.Fatal(err)
	}
	n.post("/unfreeze", api.Unfreeze{Force: true}).want(204)
	n.site("b.example.org")
}

func TestFreeze_StoreWithoutGate(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.post("/freeze", api.Freeze{Seconds: 1}).fails(api.CodeInvalid)
	n.post("/unfreeze", api.Unfreeze{}).fails(api.CodeInvalid)
}
