package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/cluster"
	"statiko/leader"
	"statiko/reconcile"
	"statiko/state"
)

// playedGroup is a cluster whose other members are played.
type playedGroup struct {
	cluster.Group // this node
	others        []cluster.MemberStatus
	waiting       []api.Waiting
	removed       []string
	// waits has what was waited for.
	waits []string
}

func (g *playedGroup) Members() []cluster.Member {
	list := g.Group.Members()
	for _, o := range g.others {
		list = append(list, o.Member)
	}
	return list
}

func (g *playedGroup) Statuses(ctx context.Context) []cluster.MemberStatus {
	return append(g.Group.Statuses(ctx), g.others...)
}

func (g *playedGroup) WaitApplied(ctx context.Context, revision int64, domain string) []api.Waiting {
	g.waits = append(g.waits, fmt.Sprintf("%d %s", revision, domain))
	return append(g.Group.WaitApplied(ctx, revision, domain), g.waiting...)
}

func (g *playedGroup) Remove(_ context.Context, name string) error {
	g.removed = append(g.removed, name)
	for _, o := range g.others {
		if o.Name == name && o.Up {
			return state.Errorf(state.ErrInUse, state.Key{Kind: state.KindMember, Name: name}, "", "the node %s is up", name)
		} else if o.Name == name {
			return nil
		}
	}
	return state.Errorf(state.ErrNotFound, state.Key{Kind: state.KindMember, Name: name}, "", "there is no node %q", name)
}

func (g *playedGroup) Verify(r *http.Request, body []byte) (string, error) {
	if r.Header.Get("Authorization") == "good" {
		return "edge-2", nil
	}
	return g.Group.Verify(r, body)
}

var (
	playedSince  = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	playedUnseen = time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC)
)

func playedMember(name, id string, up bool) cluster.Member {
	m := cluster.Member{Name: name, Up: up, Record: cluster.Record{InstanceID: id, Address: "https://" + name + ":2265",
		Pin: "sha256/x", Version: "v0", WebServer: "nginx", FirstSeen: playedSince, Schema: 1}}
	if up {
		m.Since = playedSince
	} else {
		m.UnseenSince, m.Stopped = &playedUnseen, true
	}
	return m
}

// inCluster starts a node with three others.
func inCluster(t testing.TB, change func(*Options)) (*node, *playedGroup) {
	t.Helper()
	g := &playedGroup{}
	var s *Server
	n := start(t, func(o *Options) {
		g.Group = cluster.Single(cluster.SingleOptions{Store: o.Store, NodeName: o.NodeName,
			Local: func(ctx context.Context, q cluster.Query) cluster.NodeStatus { return s.LocalStatus(ctx, q) }})
		o.Cluster = g
		if change != nil {
			change(o)
		}
	})
	s = n.server
	behind := playedSince
	app := "docs-41"
	g.others = []cluster.MemberStatus{
		{Member: playedMember("edge-2", "id-2", true), State: cluster.StateUp, Lag: 3, Lagging: true, Node: &cluster.NodeStatus{
			Name: "edge-2", Applied: 7, BehindSince: &behind, Full: &api.Status{
				Name: "edge-2", Version: "v2", Nginx: api.WebServerStatus{Running: true}, Leader: "edge-2",
				Sync:   api.SyncStatus{LastSync: playedSince, Revision: 7},
				Store:  api.StoreStatus{Healthy: true, Type: "etcd", Revision: 10},
				Health: []api.SiteHealth{{Domain: "docs.example.org", App: &app, Healthy: true}},
			}}},
		{Member: playedMember("edge-3", "id-3", true), State: cluster.StateUnreachable, Reason: "it does not answer"},
		{Member: playedMember("edge-4", "id-3", false), State: cluster.StateDown, Reason: "it was stopped"}, // a copied folder
	}
	return n, g
}

func TestClusterStatus_UpAndAbsentMembers(t *testing.T) {
	t.Parallel()
	n, _ := inCluster(t, nil)
	n.site("docs.example.org")
	a := n.get("/clusterstatus").want(200)
	var raw map[string]map[string]any
	a.into(&raw)
	if len(raw) != 4 {
		t.Fatalf("members %s", a.body)
	}
	for id, m := range raw {
		// What the earlier program's stkcli relies on.
		sync, ok := m["sync"].(map[string]any)
		if last, isText := sync["lastSync"].(string); !ok || !isText || strings.HasPrefix(last, "0001") {
			t.Errorf("%s: lastSync is %v", id, sync["lastSync"])
		}
		for _, name := range []string{"name", "nginx", "store", "health", "state", "applied", "lag", "lagging", "version"} {
			if m[name] == nil {
				t.Errorf("%s has no %s: %v", id, name, m)
			}
		}
	}
	var members map[string]api.MemberStatus
	a.into(&members)
	self := members[cluster.NoInstance]
	if self.Name != "edge-1" || self.State != api.MemberUp || len(self.Health) != 1 || self.Leader != "edge-1" || self.Applied == 0 {
		t.Errorf("this node: %+v", self)
	}
	up := members["id-2"]
	if up.State != api.MemberUp || up.Error != "" || up.Version != "v2" || up.Applied != 7 || up.Lag != 3 || !up.Lagging ||
		up.BehindSince == nil || len(up.Health) != 1 || up.Address != "https://edge-2:2265" || up.Since == nil {
		t.Errorf("a member that is up: %+v", up)
	}
	away := members["id-3"]
	if away.State != api.MemberUnreachable || away.Error != "it does not answer" || away.Name != "edge-3" || away.Nginx.Running || away.Store.Healthy {
		t.Errorf("a member that does not answer: %+v", away)
	}
	if down := members["id-3/edge-4"]; down.State != api.MemberDown || down.Since != nil || down.Error == "" {
		t.Errorf("a member that is down: %+v", down)
	}
}

// Weakness W38 of the earlier program: asking for the cluster's status made the next status say unhealthy, and 503.
func TestW38_ClusterStatusOfManyChangesNothing(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]*node{"alone": start(t, nil), "in a cluster": func() *node { n, _ := inCluster(t, nil); return n }()} {
		n.app("docs-41")
		n.site("docs.example.org")
		n.site("broken.example.org")
		n.post("/site/docs.example.org/app", `{"name":"docs-41"}`).want(204)
		n.reconciler.set(func(p *played) {
			p.sites["broken.example.org"] = reconcile.SiteStatus{Domain: "broken.example.org", Err: "bundle is missing"}
		})
		before := n.get("/status").want(200)
		for range 3 {
			n.get("/clusterstatus").want(200)
		}
		if after := n.get("/status").want(200); string(after.body) != string(before.body) {
			t.Errorf("%s: the status became\n%s\nand was\n%s", name, after.body, before.body)
		}
	}
}

func TestNodes_ListAndRemove(t *testing.T) {
	t.Parallel()
	n, g := inCluster(t, nil)
	var nodes []api.Node
	n.get("/node").want(200).into(&nodes)
	if len(nodes) != 4 || nodes[0].Name != "edge-1" || !nodes[0].Self || !nodes[0].Up || nodes[1].ID != "id-2" || nodes[1].Since == nil ||
		nodes[3].Up || !nodes[3].Stopped || !nodes[3].UnseenSince.Equal(playedUnseen) || nodes[3].Since != nil {
		t.Errorf("nodes %+v", nodes)
	}
	n.do(request{method: "DELETE", path: "/node/edge-2"}).fails(api.CodeInUse)
	n.do(request{method: "DELETE", path: "/node/edge-9"}).fails(api.CodeNotFound)
	n.do(request{method: "DELETE", path: "/node/edge-4"}).want(204)
	if strings.Join(g.removed, " ") != "edge-2 edge-9 edge-4" {
		t.Errorf("removed %q", g.removed)
	}

	alone := start(t, nil)
	alone.get("/node").want(200).into(&nodes)
	if len(nodes) != 1 || nodes[0].ID != "00000000-0000-0000-0000-000000000000" || nodes[0].Name != "edge-1" || !nodes[0].Up {
		t.Errorf("alone: %+v", nodes)
	}
	alone.do(request{method: "DELETE", path: "/node/edge-1"}).fails(api.CodeInUse)
	alone.do(request{method: "DELETE", path: "/node/edge-2"}).fails(api.CodeNotFound)
}

// A change that waits names who has not applied it; one that does not wait asks nobody.
func TestWait_NamesWhoHasNotApplied(t *testing.T) {
	t.Parallel()
	n, g := inCluster(t, nil)
	n.site("a.example.org")
	if len(g.waits) != 0 {
		t.Errorf("waited for %q", g.waits)
	}
	a := n.post("/site?wait=5", api.SiteCreate{Domain: "b.example.org"}).want(200)
	if a.header.Get(api.HeaderApplied) != "true" || len(a.header.Values(api.HeaderWaiting)) != 0 || len(g.waits) != 1 {
		t.Errorf("headers %v, waits %q", a.header, g.waits)
	}
	g.waiting = []api.Waiting{{Node: "edge-2", Reason: "it has applied revision 3, not yet 4; \"so\", far\r\nX-Evil: 1"}, {Node: "edge-4", Absent: true, Reason: "it is down"}}
	a = n.post("/site?wait=5", api.SiteCreate{Domain: "c.example.org"}).want(200)
	got, more := api.ParseWaiting(a.header.Get(api.HeaderWaiting))
	if a.header.Get(api.HeaderApplied) != "false" || more != 0 || len(got) != 2 || got[0] != g.waiting[0] || got[1] != g.waiting[1] || a.header.Get("X-Evil") != "" {
		t.Errorf("headers %v: %+v", a.header, got)
	}
	for method, path := range map[string]string{"PATCH": "/site/a.example.org?wait=1", "DELETE": "/site/b.example.org?wait=1"} {
		a := n.do(request{method: method, path: path, body: `{"aliases":["w.example.org"]}`})
		if a.status/100 != 2 || a.header.Get(api.HeaderApplied) != "false" || a.header.Get(api.HeaderWaiting) == "" {
			t.Errorf("%s: %d, headers %v", a.asked, a.status, a.header)
		}
	}
	// Looking again is one node's business.
	if a := n.post("/sync?wait=1", nil).want(204); a.header.Get(api.HeaderApplied) != "true" {
		t.Errorf("headers %v", a.header)
	}
	// This node too is named.
	alone := start(t, nil)
	alone.reconciler.set(func(p *played) { p.follow = false })
	a = alone.post("/site?wait=0.05", api.SiteCreate{Domain: "a.example.org"}).want(200)
	if got, _ := api.ParseWaiting(a.header.Get(api.HeaderWaiting)); len(got) != 1 || got[0].Node != "edge-1" || got[0].Reason == "" {
		t.Errorf("alone: %+v", got)
	}
}

// Who waits is answered at once when the node stops.
func TestEndWaits(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.reconciler.set(func(p *played) { p.follow = false })
	time.AfterFunc(50*time.Millisecond, n.server.EndWaits)
	began := time.Now()
	a := n.post("/site?wait=300", api.SiteCreate{Domain: "a.example.org"}).want(200)
	if a.header.Get(api.HeaderApplied) != "false" || time.Since(began) > 60*time.Second {
		t.Errorf("after %v: %v", time.Since(began), a.header)
	}
}

func TestPeerStatus_ForNodesOnly(t *testing.T) {
	t.Parallel()
	n, _ := inCluster(t, nil)
	n.site("a.example.org")
	ask := func(query, authorization string) *answer {
		return n.do(request{method: "GET", path: cluster.StatusPath + query, header: map[string]string{"Authorization": authorization}})
	}
	for _, wrong := range []string{"", testPSK, "Bearer " + testPSK, "STK-Node x.y"} {
		ask("", wrong).fails(api.CodeUnauthorized)
	}
	n.do(request{method: "GET", path: cluster.StatusPath, public: true}).fails(api.CodeNoRoute)
	// A wrong proof is no attempt at the key.
	for range attemptBurst + 5 {
		ask("", "STK-Node x.y").fails(api.CodeUnauthorized)
	}
	n.get("/site").want(200)

	var s cluster.NodeStatus
	ask("?full=1", "good").want(200).into(&s)
	if s.Name != "edge-1" || s.Full == nil || len(s.Full.Health) != 1 || s.Applied == 0 || s.State == 0 || !s.Store.Healthy || s.Leader != "edge-1" {
		t.Errorf("%+v", s)
	}
	s = cluster.NodeStatus{}
	ask(fmt.Sprintf("?revision=%d&wait=5", n.store.Snapshot().Revision()), "good").want(200).into(&s)
	if !s.Reached || s.Full != nil {
		t.Errorf("%+v", s)
	}
	s = cluster.NodeStatus{}
	ask("?revision=999999&wait=0.05", "good").want(200).into(&s)
	if s.Reached || s.Fault != "" {
		t.Errorf("%+v", s)
	}
	n.reconciler.set(func(p *played) {
		p.sites["a.example.org"] = reconcile.SiteStatus{Domain: "a.example.org", Err: "bundle is missing"}
	})
	n.site("b.example.org")
	s = cluster.NodeStatus{}
	ask("?unwell=1", "good").want(200).into(&s)
	if s.Full == nil || len(s.Full.Health) != 1 || s.Full.Health[0].Domain != "a.example.org" {
		t.Errorf("of two sites, one of which fails: %+v", s.Full)
	}
	s = cluster.NodeStatus{}
	ask("?revision=1&wait=5&domain=a.example.org", "good").want(200).into(&s)
	if s.Reached || s.Fault != "bundle is missing" {
		t.Errorf("%+v", s)
	}
	ask("?revision=x", "good").fails(api.CodeMalformed)
}

func TestLeader_ShowAndStepDown(t *testing.T) {
	t.Parallel()
	alone := start(t, nil)
	alone.get("/leader").want(200).same(`{"name":"edge-1"}`)
	alone.post("/leader/stepdown", `{}`).fails(api.CodeHandover)

	var asked []string
	var answer error
	n := start(t, func(o *Options) {
		o.LeaderState = func() leader.LeaderState {
			return leader.LeaderState{NobodySince: playedSince, UnknownSince: playedUnseen}
		}
		o.Leader = func() (string, bool) { return "", false }
		o.StepDown = func(_ context.Context, to string) error { asked = append(asked, to); return answer }
	})
	var status api.Status
	n.get("/status").want(200).into(&status)
	if status.Leader != "" || status.NoLeaderSince == nil || !status.NoLeaderSince.Equal(playedSince) {
		t.Errorf("the status says that %q leads, and nobody since %v", status.Leader, status.NoLeaderSince)
	}
	n.get("/leader").want(200).same(`{"name":"","nobodySince":"2026-06-01T00:00:00Z","unknownSince":"2026-06-02T00:00:00Z"}`)
	n.post("/leader/stepdown", `{}`).want(204)
	n.post("/leader/stepdown", `{"to":"edge-2"}`).want(204)
	n.post("/leader/stepdown", `[]`).fails(api.CodeMalformed)
	if fmt.Sprintf("%q", asked) != `["" "edge-2"]` {
		t.Errorf("asked %q", asked)
	}
	for err, code := range map[error]string{
		leader.ErrNoLeader: api.CodeHandover, leader.ErrNoCandidate: api.CodeHandover, leader.ErrHandover: api.CodeHandover,
		leader.ErrNotTaken: api.CodeHandover, state.ErrUnavailable: api.CodeUnavailable,
	} {
		answer = fmt.Errorf("%w: so it is", err)
		if e := n.post("/leader/stepdown", `{"to":"edge-2"}`).fails(code); !strings.Contains(e.Message, "so it is") {
			t.Errorf("%v: %q", err, e.Message)
		}
	}
}

// detachedStore is a store that can be detached.
type detachedStore struct {
	state.Store
	reason   string
	accepted int
	err      error
}

func (s *detachedStore) Health() state.Health {
	return state.Health{Healthy: s.reason == "", Reason: s.reason, Backend: "etcd"}
}

func (s *detachedStore) Accept(context.Context) (int64, error) {
	s.accepted++
	if s.err != nil {
		return 0, s.err
	}
	s.reason = ""
	return s.Snapshot().Revision(), nil
}

// behind hides the powers of a store, as a gate does.
type behind struct{ state.Store }

func (b behind) Unwrap() state.Store { return b.Store }

func TestAcceptStore(t *testing.T) {
	t.Parallel()
	start(t, nil).post("/store/accept", nil).fails(api.CodeNotDetached)
	s := &detachedStore{}
	n := start(t, func(o *Options) {
		s.Store = o.Store
		o.Store = behind{s}
	})
	n.site("a.example.org")
	n.post("/store/accept", nil).fails(api.CodeNotDetached)
	if s.accepted != 0 {
		t.Error("a store that is not detached was asked to accept")
	}
	s.reason = "detached: etcd has another state"
	// Sites are served, so the node is well (W39).
	var st api.Status
	n.get("/status").want(200).into(&st)
	if st.Store.Healthy || st.Store.Reason != s.reason {
		t.Errorf("store %+v", st.Store)
	}
	s.err = fmt.Errorf("%w: etcd does not answer", state.ErrUnavailable)
	n.post("/store/accept", nil).fails(api.CodeUnavailable)
	s.err = errors.Join(state.ErrConflict)
	n.post("/store/accept", nil).fails(api.CodeConflict)
	s.err = nil
	a := n.post("/store/accept?wait=5", nil).want(204)
	if a.header.Get(api.HeaderApplied) != "true" || a.header.Get(api.HeaderRevision) == "" || s.reason != "" {
		t.Errorf("headers %v", a.header)
	}
	n.post("/store/accept", nil).fails(api.CodeNotDetached)
	n.do(request{method: "POST", path: "/store/accept", anonymous: true}).fails(api.CodeUnauthorized)
}
