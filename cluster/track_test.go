package cluster

import (
	"fmt"
	"testing"
	"time"

	"statiko/state"
)

// grow returns the snapshot after a change of the objects at the revision.
func grow(s *state.Snapshot, revision int64, objects ...state.Object) *state.Snapshot {
	b := s.Build()
	for _, o := range objects {
		b.Put(o, revision)
	}
	return b.Snapshot(revision)
}

func TestTracker_OnlyTheDocumentCounts(t *testing.T) {
	t.Parallel()
	var tr tracker
	now := time.Unix(1000, 0)
	s := state.NewSnapshot(state.Head{}, 10)
	tr.observe(s, now)
	site := &state.Site{Domain: "one.test"}
	member := &state.Record{Kind: state.KindMember, Name: "a", Data: []byte("{}")}
	s = grow(s, 11, site)
	tr.observe(s, now.Add(time.Second))
	s = grow(s, 12, member)
	tr.observe(s, now.Add(2*time.Second))
	p := tr.progress(10, now.Add(3*time.Second))
	if p.state != 11 || p.due != 0 || !p.behindSince.Equal(now.Add(time.Second)) {
		t.Errorf("%+v", p)
	}
	// A batch that ends with a member.
	s = grow(grow(s, 13, site), 14, member)
	tr.observe(s, now.Add(4*time.Second))
	if p := tr.progress(11, now.Add(5*time.Second)); p.state != 13 || !p.behindSince.Equal(now.Add(4*time.Second)) {
		t.Errorf("%+v", p)
	}
	// What is removed no longer tells when it changed.
	b := s.Build()
	b.Delete(site.Key(), 15)
	s = b.Snapshot(16)
	tr.observe(s, now.Add(6*time.Second))
	if p := tr.progress(13, now.Add(6*time.Second)); p.state != 16 {
		t.Errorf("%+v", p)
	}
	if p := tr.progress(16, now.Add(7*time.Second)); !p.behindSince.IsZero() {
		t.Errorf("%+v", p)
	}
	for after, due := range map[time.Duration]int64{10 * time.Second: 10, 11 * time.Second: 11, 14 * time.Second: 13, 16 * time.Second: 16} {
		again := tracker{last: tr.last, sightings: []sighting{{10, now}, {11, now.Add(time.Second)}, {13, now.Add(4 * time.Second)}, {16, now.Add(6 * time.Second)}}}
		if p := again.progress(0, now.Add(after)); p.due != due || !p.behindSince.Equal(now) {
			t.Errorf("after %v: %+v, want %d due", after, p, due)
		}
	}
}

// A node that applies nothing while others change for days needs no more memory, and does not look well.
func TestTracker_IsBounded(t *testing.T) {
	t.Parallel()
	var tr tracker
	now := time.Unix(1000, 0)
	s := state.NewSnapshot(state.Head{}, 1)
	tr.observe(s, now)
	for i := range 5 * maxSightings {
		s = grow(s, int64(i+2), &state.Site{Domain: fmt.Sprintf("s%d.test", i%7)})
		now = now.Add(time.Second)
		tr.observe(s, now)
	}
	if len(tr.sightings) > maxSightings {
		t.Errorf("%d sightings", len(tr.sightings))
	}
	p := tr.progress(1, now)
	if p.state != s.Revision() || p.due < s.Revision()-2*int64(lagAfter/time.Second) || now.Sub(p.behindSince) < time.Minute {
		t.Errorf("%+v at %v", p, now)
	}
}
