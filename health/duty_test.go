package health

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/cluster"
	"statiko/filestore"
	"statiko/notify"
	"statiko/state"
)

// term is a fence that the test ends.
type term struct{ over bool }

func (f *term) Over() bool { return f.over }

// ward is a Duty with a real store, a clock and nodes that say what they are told.
type ward struct {
	t     testing.TB
	store *filestore.Store
	duty  *Duty
	fence *term
	now   time.Time
	nodes []cluster.MemberStatus
	read  map[string]bool
}

func newWard(t testing.TB, nodes ...string) *ward {
	t.Helper()
	store, err := filestore.Open(filestore.Options{Path: filepath.Join(t.TempDir(), "state.json"), KeyID: "k", KnownKeyIDs: []string{"k"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := &ward{t: t, store: store, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), read: map[string]bool{}}
	for _, n := range nodes {
		w.nodes = append(w.nodes, cluster.MemberStatus{Member: cluster.Member{Name: n}})
		w.says(n)
	}
	w.elect()
	return w
}

// elect begins another term, with a duty that knows nothing.
func (w *ward) elect() {
	w.t.Helper()
	duty, err := NewDuty(DutyOptions{Store: w.store, Nodes: w, Node: w.nodes[0].Name, Now: func() time.Time { return w.now }})
	if err != nil {
		w.t.Fatal(err)
	}
	duty.seen = map[string]sighting{}
	w.duty, w.fence = duty, &term{}
}

// Unwell is that of the nodes.
func (w *ward) Unwell(context.Context) []cluster.MemberStatus { return slices.Clone(w.nodes) }

func (w *ward) node(name string) *cluster.MemberStatus {
	i := slices.IndexFunc(w.nodes, func(m cluster.MemberStatus) bool { return m.Name == name })
	return &w.nodes[i]
}

// says has the node answer that it is well, except for these sites.
func (w *ward) says(name string, ill ...string) *api.Status {
	s := &api.Status{Name: name, Nginx: api.WebServerStatus{Running: true}}
	for _, d := range ill {
		s.Health = append(s.Health, api.SiteHealth{Domain: d, Error: "its start page answers with status 500"})
	}
	w.node(name).Node = &cluster.NodeStatus{Name: name, Full: s}
	return s
}

func (w *ward) site(domains ...string) {
	w.t.Helper()
	for part := range slices.Chunk(domains, 40) {
		_, err := w.store.Update(context.Background(), func(d *state.Draft) error {
			for _, domain := range part {
				if err := d.Put(&state.Site{Domain: domain, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// pass lets minutes go by, with a look at each, and returns what was told.
func (w *ward) pass(minutes int) (texts []string) {
	w.t.Helper()
	for range minutes {
		w.now = w.now.Add(time.Minute)
		if err := w.duty.look(context.Background(), w.fence); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.told()
}

// told returns the texts that are in the outbox since the last call, in the order of the IDs.
func (w *ward) told() (texts []string) {
	w.t.Helper()
	for o := range w.store.Snapshot().Objects(state.KindEvent) {
		name := o.Key().Name
		if !strings.HasPrefix(name, "outbox/") || w.read[name] {
			continue
		}
		w.read[name] = true
		data, err := o.MarshalJSON()
		if err != nil {
			w.t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(data), `"text":"`)
		text, _, _ = strings.Cut(text, `","`)
		texts = append(texts, text)
	}
	return texts
}

func (w *ward) wantTold(minutes int, want ...string) {
	w.t.Helper()
	if got := w.pass(minutes); !slices.Equal(got, want) {
		w.t.Errorf("after %d minutes told %q, want %q", minutes, got, want)
	}
}

func TestDuty_SiteIsToldOnceWhateverNodesSay(t *testing.T) {
	w := newWard(t, "edge-1", "edge-2", "edge-3")
	w.site("a.test", "b.test")
	w.wantTold(5)
	w.says("edge-2", "a.test")
	w.wantTold(2)
	w.says("edge-3", "a.test")
	w.wantTold(1, "The site a.test is unhealthy on edge-2, edge-3: its start page answers with status 500")
	w.says("edge-1", "a.test")
	w.wantTold(10)
	w.says("edge-1")
	w.says("edge-2")
	w.wantTold(10)
	w.says("edge-3")
	w.wantTold(2)
	w.wantTold(1, "The site a.test is healthy again, since 2026-01-02 03:33:05 UTC")
	w.wantTold(200)
	if n := w.marks(); n != 0 {
		t.Errorf("%d marks are left of what is well for hours", n)
	}
	for _, n := range []string{"edge-1", "edge-2", "edge-3"} {
		w.says(n, "b.test")
	}
	w.wantTold(3, "The site b.test is unhealthy on all 3 nodes: its start page answers with status 500")
}

func (w *ward) marks() (n int) {
	for range notify.AllNoticed(w.store.Snapshot(), "health/") {
		n++
	}
	return n
}

func TestDuty_ShortFailuresAreNotTold(t *testing.T) {
	w := newWard(t, "edge-1", "edge-2")
	w.site("a.test")
	for range 10 {
		w.says("edge-1", "a.test")
		w.wantTold(2)
		w.says("edge-1")
		w.wantTold(1)
	}
	if len(w.duty.seen) != 0 {
		t.Errorf("what is well is remembered: %v", w.duty.seen)
	}
}

// What fails again and again is told less and less often.
func TestDuty_FlappingIsDamped(t *testing.T) {
	w := newWard(t, "edge-1", "edge-2")
	w.site("a.test")
	told := 0
	for range 60 { // ten hours of five minutes ill, five minutes well
		w.says("edge-1", "a.test")
		told += len(w.pass(5))
		w.says("edge-1")
		told += len(w.pass(5))
	}
	if told < 2 || told > 6 {
		t.Errorf("told %d times", told)
	}
	w.wantTold(100, "The site a.test is healthy again, since 2026-01-02 13:00:05 UTC")
}

// Another leader knows what was told, in a term or in none; one whose term is over tells nothing.
func TestDuty_OncePerClusterHoweverOftenLeadersChange(t *testing.T) {
	w := newWard(t, "edge-1", "edge-2")
	w.site("a.test")
	w.says("edge-2", "a.test")
	if got := w.pass(3); len(got) != 1 {
		t.Fatalf("told %q", got)
	}
	for range 5 {
		w.elect()
		w.wantTold(10)
	}
	w.says("edge-2")
	old, oldFence := w.duty, w.fence
	w.wantTold(2)
	w.elect()
	oldFence.over = true
	w.now = w.now.Add(time.Minute)
	if err := old.look(context.Background(), oldFence); !errors.Is(err, state.ErrFenced) {
		t.Errorf("a leader whose term is over: %v", err)
	}
	w.wantTold(0)
	if got := w.pass(4); len(got) != 1 || !strings.Contains(got[0], "healthy again") {
		t.Errorf("told %q", got)
	}
}

// Two that think that they lead at the same time tell once.
func TestDuty_TwoAtOnceTellOnce(t *testing.T) {
	w := newWard(t, "edge-1", "edge-2")
	w.site("a.test")
	w.says("edge-2", "a.test")
	w.wantTold(2)
	first := w.duty
	second, err := NewDuty(first.o)
	if err != nil {
		t.Fatal(err)
	}
	second.seen = map[string]sighting{}
	for about, s := range first.seen {
		second.seen[about] = s
	}
	before := w.store.Snapshot()
	w.now = w.now.Add(time.Minute)
	findings := read(w.nodes).sites(before)
	for _, d := range []*Duty{first, second} { // both decide by what was before
		if err := d.tell(context.Background(), w.fence, before, findings, sitePrefix, w.now); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.told(); len(got) != 1 {
		t.Errorf("told %q", got)
	}
}

func TestDuty_NodesThatFail(t *testing.T) {
	w := newWard(t, "edge 1/x", "edge-2")
	w.site("a.test")
	s := w.says("edge-2", "a.test")
	s.Nginx = api.WebServerStatus{Error: "stopped"}
	s.Sync.SyncError = "disk full"
	w.wantTold(3, "The node edge-2 fails: its web server does not run (stopped); it cannot apply the state (disk full)")
	w.says("edge 1/x").Certificate = &api.NodeCertificate{NotAfter: w.now.Add(1000 * 24 * time.Hour), Error: "no such file"}
	w.wantTold(3, "The node edge 1/x fails: its own certificate cannot be replaced (no such file)")
	// One that does not answer is as it was; a site on it is nobody's trouble.
	w.node("edge-2").Node = nil
	w.wantTold(10)
	w.says("edge-2")
	w.says("edge 1/x")
	if got := w.pass(3); len(got) != 2 || !strings.Contains(got[0], "edge-2 is well again") && !strings.Contains(got[1], "edge-2 is well again") {
		t.Errorf("told %q", got)
	}
	w.says("edge-2").Sync.SyncError = "disk full"
	w.pass(3)
	w.nodes = w.nodes[:1] // it is forgotten by the cluster
	w.pass(1)
	if _, ok := notify.NoticedIn(w.store.Snapshot(), nodePrefix+"edge-2"); ok {
		t.Error("the mark of a node that is gone is kept")
	}
}

func TestDuty_SitesThatAreRemovedAreForgotten(t *testing.T) {
	w := newWard(t, "edge-1")
	w.site("a.test")
	w.says("edge-1", "a.test")
	w.wantTold(3, "The site a.test is unhealthy on edge-1: its start page answers with status 500")
	if _, err := w.store.Update(context.Background(), func(d *state.Draft) error {
		return d.Delete(state.Key{Kind: state.KindSite, Name: "a.test"})
	}); err != nil {
		t.Fatal(err)
	}
	w.wantTold(5) // the node may not know yet
	w.says("edge-1")
	w.wantTold(5)
	if n := w.marks(); n != 0 {
		t.Errorf("%d marks of a site that is gone", n)
	}
}

// A thousand sites that fail together are one notice, and one when they are well; each has its mark.
func TestDuty_ManyAtOnceAreOneNotice(t *testing.T) {
	w := newWard(t, "edge-1", "edge-2")
	var domains []string
	for i := range 300 {
		domains = append(domains, fmt.Sprintf("s%03d.test", i))
	}
	w.site(domains...)
	w.says("edge-2", domains...)
	w.wantTold(3, "300 sites are unhealthy: s000.test, s001.test, s002.test, s003.test, s004.test and 295 more. "+
		"Of s000.test: its start page answers with status 500")
	if n := w.marks(); n != 300 {
		t.Errorf("%d marks", n)
	}
	w.wantTold(10)
	w.says("edge-2", domains[:2]...)
	w.wantTold(3, "298 sites are healthy again: s002.test, s003.test, s004.test, s005.test, s006.test and 293 more")
}

func TestDuty_NodesCertificateExpires(t *testing.T) {
	w := newWard(t, "edge-1", "edge-2")
	until := w.now.Add(80 * time.Hour)
	w.says("edge-2").Certificate = &api.NodeCertificate{NotAfter: until}
	w.says("edge-1").Certificate = &api.NodeCertificate{NotAfter: until, Renewed: true}
	w.wantTold(1, "The certificate of the node edge-2 itself expires in 4 days (2026-01-05 11:04 UTC)")
	w.elect()
	w.wantTold(10)
	w.now = w.now.Add(60 * time.Hour)
	w.wantTold(10, "The certificate of the node edge-2 itself expires today (2026-01-05 11:04 UTC)")
	w.says("edge-2").Certificate = &api.NodeCertificate{NotAfter: until.Add(15 * 24 * time.Hour)}
	w.wantTold(1, "The certificate of the node edge-2 itself expires in 16 days (2026-01-20 11:04 UTC)")
}

func TestEscape(t *testing.T) {
	for name, want := range map[string]string{"edge-1.example.org": "edge-1.example.org", "a b=c%": "a=20b=3Dc=25", "ü": "=C3=BC"} {
		if got := escape(name); got != want || unescape(got) != name {
			t.Errorf("%q becomes %q, and then %q", name, got, unescape(got))
		}
	}
}
