package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
	"statiko/test/history"
)

// Scene is a cluster with what all rounds need.
type Scene struct {
	*cluster.Cluster
	T testing.TB
	// base is the document that a restore begins with: the certificate pair, the bundle and the steady site.
	base map[string]any
	// random chooses faults; one goroutine uses it.
	random *rand.Rand
	// round makes the names of each round its own.
	round int
	calls *history.Recorder
	views *history.Views
	// since is the revision that the round began with.
	since  int64
	events events
	// minds knows which nodes were disturbed.
	minds minds
	// bundles are what clients upload and deploy.
	bundles bundles
	// full counts how often disks were filled.
	full int
	// visits counts those that were answered.
	visits atomic.Int64
	totals Totals
	// totaled is the last round that they have.
	totaled int
	// all has those of other scenes too; nil if nobody asks.
	all *Totals
}

// Pair is the imported certificate of most sites, which so need no leader; Steady is the site that is always there,
// with the bundle App.
const (
	Pair   = "wild"
	Steady = "steady.example.org"
	App    = "steady"
)

// steadyPage is its page.
var steadyPage = []byte("<!doctype html><title>steady</title>")

// NewScene prepares a cluster that runs: it imports a certificate, uploads a bundle, and adds the sites that are
// always there. Its rounds are counted in all, too, unless that is nil.
func NewScene(t testing.TB, c *cluster.Cluster, seed uint64, all *Totals) *Scene {
	t.Helper()
	s := &Scene{Cluster: c, T: t, random: rand.New(rand.NewPCG(seed, seed)), all: all}
	s.minds.of = map[*cluster.Node]*mind{}
	for _, n := range c.Nodes {
		s.minds.of[n] = &mind{}
	}
	s.begin()
	t.Cleanup(func() {
		s.total()
		t.Logf("in all %s", &s.totals)
	})
	ctx, client := context.Background(), c.Nodes[0].API(t)
	cluster.Must(t, client.ImportCertificate(ctx, cluster.SelfMade(Pair, "*.example.org")))
	cluster.Must(t, client.UploadApp(ctx, App, "zip", bytes.NewReader(cluster.Zip(map[string][]byte{"index.html": steadyPage})), nil))
	_, err := client.CreateSite(ctx, api.SiteCreate{Domain: Steady, TLS: &api.SiteTLS{Type: "imported", Certificate: Pair}})
	cluster.Must(t, err)
	cluster.Must(t, client.Deploy(ctx, Steady, App))
	_, err = client.CreateSite(ctx, api.SiteCreate{Domain: Deployed, TLS: &api.SiteTLS{Type: "imported", Certificate: Pair}})
	cluster.Must(t, err)
	cluster.Must(t, client.Deploy(ctx, Deployed, App))
	text, err := c.Nodes[0].Document()
	cluster.Must(t, err)
	cluster.Must(t, json.Unmarshal([]byte(text), &s.base))
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(30*time.Second, n.Name()+" serves the steady sites", func() error { return s.serving(n) }))
	}
	c.Keep("events.txt", s.events.write)
	c.Keep("history.jsonl", func(w io.Writer) error { return s.calls.Write(w) })
	c.Keep("bundles.jsonl", func(w io.Writer) error { return s.bundles.calls.Write(w) })
	c.Keep("views.jsonl", func(w io.Writer) error { return s.views.Write(w) })
	return s
}

// begin begins the records of a round.
func (s *Scene) begin() {
	s.total()
	s.round++
	s.calls, s.views = history.NewRecorder(), &history.Views{}
	s.visits.Store(0)
	s.bundles.begin()
}

// total counts the round that is over, once, unless nothing was asked for in it.
func (s *Scene) total() {
	if s.totaled == s.round || len(s.calls.Calls()) == 0 {
		return
	}
	s.totaled = s.round
	s.totals.add(s)
	if s.all != nil {
		s.all.add(s)
	}
}

// Prefix begins the names of the round's sites.
func (s *Scene) Prefix() string { return fmt.Sprintf("r%d", s.round) }

// Document returns a state of the sites that are always there and these, with the bundles of the round, and what it deploys.
func (s *Scene) Document(sites history.Sites) (text []byte, deployed string) {
	doc := map[string]any{}
	for k, v := range s.base {
		doc[k] = v
	}
	list := append([]any{}, s.base["sites"].([]any)...)
	for domain, aliases := range sites {
		if domain == Steady || domain == Deployed {
			continue
		}
		list = append(list, map[string]any{
			"domain": domain, "aliases": append([]string{}, aliases...), "app": nil,
			"tls": map[string]string{"type": "imported", "cert": Pair},
		})
	}
	doc["sites"] = list
	deployed = s.bundles.document(doc)
	text, err := json.Marshal(doc)
	cluster.Must(s.T, err)
	return text, deployed
}

// Restore restores the sites that are always there and these through the node, and records it.
func (s *Scene) Restore(client int, n *cluster.Node, c *api.Client, sites history.Sites) history.Call {
	s.bundles.whole.RLock()
	defer s.bundles.whole.RUnlock()
	return s.restore(client, n, c, sites)
}

// restore is Restore for who holds bundles.whole.
func (s *Scene) restore(client int, n *cluster.Node, c *api.Client, sites history.Sites) history.Call {
	all := history.Sites{Steady: nil, Deployed: nil}
	for domain, aliases := range sites {
		all[domain] = aliases
	}
	doc, deployed := s.Document(all)
	call, err := s.calls.Make(history.Call{Client: client, Node: n.Name(), Op: history.Restore, Sites: all}, func(a *api.Answer) error {
		return c.SetState(context.Background(), bytes.NewReader(doc), int64(len(doc)), api.Observe(a))
	})
	if err != nil {
		s.events.fault("restore through %s: %v", n.Name(), err)
	}
	of := call
	of.Sites, of.App = nil, deployed
	s.bundles.calls.Note(of)
	return call
}

// steady is an error unless the node serves the steady site's page.
func steady(n *cluster.Node) error {
	v := cluster.NewVisitor(n)
	defer v.Close()
	p, err := v.Get("https://" + Steady + "/")
	if err != nil {
		return err
	}
	if p.Status != 200 || !bytes.Equal(p.Body, steadyPage) {
		return fmt.Errorf("https://%s/ through %s: status %d, %.60q", Steady, n.Name(), p.Status, p.Body)
	}
	return nil
}

// serving is an error unless the node serves the sites that are always there.
func (s *Scene) serving(n *cluster.Node) error {
	if err := steady(n); err != nil {
		return err
	}
	_, err := s.deployedWhole(n)
	return err
}

// events is what happened, in words, and what was wrong.
type events struct {
	mu     sync.Mutex
	began  time.Time
	lines  []string
	faults []string
}

func (e *events) say(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.began.IsZero() {
		e.began = time.Now()
	}
	e.lines = append(e.lines, fmt.Sprintf("%8.3f %s", time.Since(e.began).Seconds(), fmt.Sprintf(format, args...)))
}

// fault keeps what was wrong: clients find it in goroutines that must not end the test.
func (e *events) fault(format string, args ...any) {
	e.say("WRONG: "+format, args...)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = append(e.faults, e.lines[len(e.lines)-1])
}

func (e *events) write(w io.Writer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := io.WriteString(w, strings.Join(e.lines, "\n")+"\n")
	return err
}

// report fails the test with what was wrong.
func (e *events) report(t testing.TB) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, f := range e.faults {
		if i == 5 {
			t.Errorf("… and %d more", len(e.faults)-i)
			break
		}
		t.Error(f)
	}
	e.faults = nil
}

// minds knows what was done to nodes: one that was killed or frozen need not answer, all others must.
type minds struct {
	mu sync.Mutex
	of map[*cluster.Node]*mind
}

type mind struct {
	disturbed, disturbances, starts int
	// full tells that its disk is, and filled how often it was.
	full   bool
	filled int
}

// disturb says that the node is about to be killed or frozen; calm that it answers again.
func (m *minds) disturb(n *cluster.Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[n].disturbed++
	m.of[n].disturbances++
}

func (m *minds) calm(n *cluster.Node, started bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[n].disturbed--
	if started {
		m.of[n].starts++
	}
}

// now returns what is known of the node.
func (m *minds) now(n *cluster.Node) mind {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.of[n]
}

// calmSince tells whether the node was left alone from before on. A full disk is no excuse.
func (m *minds) calmSince(n *cluster.Node, before mind) bool {
	now := m.now(n)
	return before.disturbed == 0 && now.disturbances == before.disturbances && now.starts == before.starts
}

// fill says that the node's disk is about to be full, or that it has space again.
func (m *minds) fill(n *cluster.Node, full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of[n].full = full; full {
		m.of[n].filled++
	}
}

// spaceSince tells whether the node's disk was never full from before on.
func (m *minds) spaceSince(n *cluster.Node, before mind) bool {
	return !before.full && m.now(n).filled == before.filled
}
