package filestore

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/state"
)

// history is a random but repeatable sequence of changes to a store, with what must be in it afterwards.
type history struct {
	t      testing.TB
	random *rand.Rand
	fs     *memFS
	store  *Store
	// acked is what was acknowledged; maybe are changes whose outcome is unknown, each made or not as a whole.
	acked    map[string]string
	maybe    []map[string]string
	revision int64
	next     int
	done     []string
}

const removed = "removed"

// memOptions fold only when the history says so or, often, beside the commits.
func memOptions(fsys *memFS) Options {
	o := Options{Path: memFolder + "/state.json", KeyID: "0123abcd", FS: fsys, FoldAfter: time.Hour, checkEvery: time.Hour}
	if fsys.foldOften {
		o.FoldAfter, o.FoldBytes = 20*time.Microsecond, 500
	}
	return o
}

// contentOf returns all objects of the snapshot as text.
func contentOf(t testing.TB, s *state.Snapshot) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, kind := range state.Kinds() {
		for o := range s.Objects(kind) {
			raw, err := o.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			all[o.Key().String()] = string(raw)
		}
	}
	return all
}

func diff(before, after map[string]string) map[string]string {
	d := map[string]string{}
	for k, v := range after {
		if before[k] != v {
			d[k] = v
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			d[k] = removed
		}
	}
	return d
}

func with(before, change map[string]string) map[string]string {
	after := map[string]string{}
	for k, v := range before {
		after[k] = v
	}
	for k, v := range change {
		if v == removed {
			delete(after, k)
		} else {
			after[k] = v
		}
	}
	return after
}

func textOf(o state.Object) string { raw, _ := o.MarshalJSON(); return string(raw) }

func (h *history) site() *state.Site {
	h.next++
	domain := fmt.Sprintf("n%d.test", h.next)
	return &state.Site{Domain: domain, Aliases: []string{"www." + domain}, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

// outcome notes what became of a change.
func (h *history) outcome(change map[string]string, revision int64, err error) {
	switch {
	case err == nil:
		h.acked = with(h.acked, change)
		h.revision = max(h.revision, revision)
	case errors.Is(err, state.ErrUnknown):
		h.maybe = append(h.maybe, change)
	case !errors.Is(err, state.ErrUnavailable):
		h.t.Errorf("a change failed with %v", err)
	}
}

// step makes one random change, of one of the ways in which the store writes.
func (h *history) step() {
	switch action := h.random.IntN(10); {
	case action < 3:
		h.done = append(h.done, "update")
		h.update()
	case action < 5:
		h.done = append(h.done, "group")
		h.group()
	case action < 7:
		h.done = append(h.done, "fold")
		_, _ = h.store.do(context.Background(), &request{})
	case action < 8:
		h.done = append(h.done, "restore")
		h.restore()
	default:
		h.done = append(h.done, "reopen")
		h.store.Close()
		if h.fs.crashed {
			return
		}
		s, err := Open(memOptions(h.fs))
		if err != nil {
			if !h.fs.crashed {
				h.t.Errorf("reopen: %v", err)
			}
			return
		}
		h.store = s
	}
}

// update changes several objects at once, in the document and outside of it.
func (h *history) update() {
	change := map[string]string{}
	var objects []state.Object
	for range 1 + h.random.IntN(3) {
		objects = append(objects, h.site())
	}
	objects = append(objects, &state.Record{Kind: state.KindEvent, Name: fmt.Sprint(h.next % 5), Data: fmt.Appendf(nil, "%d", h.next)})
	for _, o := range objects {
		change[o.Key().String()] = textOf(o)
	}
	var gone *state.Key
	for s := range h.store.Snapshot().Sites() {
		if h.random.IntN(3) == 0 {
			k := s.Key()
			gone = &k
			change[k.String()] = removed
			break
		}
	}
	revision, err := h.store.Update(context.Background(), func(d *state.Draft) error {
		if gone != nil {
			if err := d.Delete(*gone); err != nil {
				return err
			}
		}
		for _, o := range objects {
			if err := d.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
	h.outcome(change, revision, err)
}

// group makes changes at the same time, so that they share fsyncs.
func (h *history) group() {
	n := 2 + h.random.IntN(4)
	type result struct {
		change   map[string]string
		revision int64
		err      error
	}
	results := make([]result, n)
	var wg sync.WaitGroup
	for i := range n {
		s := h.site()
		wg.Go(func() {
			revision, err := h.store.Update(context.Background(), func(d *state.Draft) error { return d.Put(s) })
			results[i] = result{map[string]string{s.Key().String(): textOf(s)}, revision, err}
		})
	}
	wg.Wait()
	for _, r := range results {
		h.outcome(r.change, r.revision, r.err)
	}
}

func (h *history) restore() {
	after := map[string]string{}
	for k, v := range h.acked {
		if strings.HasPrefix(k, string(state.KindEvent)) {
			after[k] = v
		}
	}
	var sites []string
	for range h.random.IntN(30) {
		s := h.site()
		sites = append(sites, textOf(s))
		after[s.Key().String()] = textOf(s)
	}
	doc, err := state.ParseDocument([]byte(`{"sites":[` + strings.Join(sites, ",") + `]}`))
	if err != nil {
		h.t.Fatal(err)
	}
	revision, err := h.store.Restore(context.Background(), doc, 0)
	h.outcome(diff(h.acked, after), revision, err)
}

// check opens the store after a crash: what was acknowledged is there, and nothing half.
func (h *history) check(where string) {
	s, err := Open(memOptions(h.fs))
	if err != nil {
		h.t.Fatalf("%s: open: %v", where, err)
	}
	h.store = s
	got, want := contentOf(h.t, s.Snapshot()), h.acked
	for _, change := range h.maybe {
		if len(diff(got, with(got, change))) == 0 {
			want = with(want, change)
		}
	}
	if d := diff(want, got); len(d) > 0 {
		h.t.Fatalf("%s: after the crash the difference is %v\nhistory %v", where, d, h.done)
	}
	if now := s.Snapshot().Revision(); now < h.revision {
		h.t.Fatalf("%s: revision %d after %d", where, now, h.revision)
	}
	for site := range s.Snapshot().Sites() {
		for _, name := range site.Names() {
			if found, ok := s.Snapshot().Site(name); !ok || found != site {
				h.t.Fatalf("%s: %s does not lead to %s", where, name, site.Domain)
			}
		}
	}
	if n := s.Snapshot().Len(state.KindName); n != 2*s.Snapshot().Len(state.KindSite) {
		h.t.Fatalf("%s: %d names", where, n)
	}
	h.acked, h.maybe, h.revision = got, nil, s.Snapshot().Revision()
}

func runHistory(t testing.TB, seed uint64, steps, crashAt int) *history {
	h := &history{t: t, random: rand.New(rand.NewPCG(seed, 1)), fs: newMemFS(), acked: map[string]string{}}
	h.fs.crashAt, h.fs.foldOften = crashAt, seed%2 == 1
	s, err := Open(memOptions(h.fs))
	if err != nil {
		if !h.fs.crashed {
			t.Fatal(err)
		}
		return h
	}
	h.store = s
	for range steps {
		if h.fs.crashed {
			break
		}
		h.step()
	}
	h.store.Close()
	return h
}

// crashSeeds is how many histories are cut at each of their operations.
var crashSeeds = flag.Int("crash.seeds", 2, "random histories for the crash test")

// A crash before any single operation on the disk, with nothing, all or some of what was not synced left.
func TestCrash_AnywhereKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	const steps = 14
	crashes := 0
	for seed := range uint64(*crashSeeds) {
		whole := runHistory(t, seed, steps, 0)
		// Groups differ from run to run; the margin covers it.
		for at := 1; at <= whole.fs.ops+10; at++ {
			crashed := runHistory(t, seed, steps, at)
			for _, leave := range []int{leaveNothing, leaveEverything, leaveSome, leaveSome} {
				h := *crashed
				if h.fs.crashed {
					crashes++
				}
				where := fmt.Sprintf("seed %d, operation %d, left %d", seed, at, leave)
				random := rand.New(rand.NewPCG(seed, uint64(at*4+leave)))
				h.fs = h.fs.reboot(leave, random)
				// Starting again may be cut short as well.
				for random.IntN(2) == 0 {
					h.fs.crashAt = 1 + random.IntN(12)
					if s, err := Open(memOptions(h.fs)); err == nil {
						s.Close()
					}
					h.fs = h.fs.reboot(random.IntN(3), random)
				}
				h.check(where)
				h.update()
				h.store.Close()
				h.check(where + ", and again")
				h.store.Close()
				if t.Failed() {
					t.Fatal(where)
				}
			}
		}
	}
	t.Logf("%d crashes", crashes)
}
