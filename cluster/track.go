package cluster

import (
	"sync"
	"time"

	"statiko/state"
)

// lagAfter is how long a change may be known without being applied before a node counts as lagging.
const lagAfter = 10 * time.Second

// maxSightings bounds the memory of a node that cannot apply anything while changes go on; then older sightings are
// merged, which makes a lag look a little younger.
const maxSightings = 1024

// tracker remembers when this node came to know which revision of the state. Only revisions at which the document
// changed count: members that come and go are not the sites' business.
type tracker struct {
	mu sync.Mutex
	// looked is the revision up to which snapshots were looked at, last the newest that changed the document.
	looked, last int64
	// sightings are in order, and end with last; due is the newest one that is older than lagAfter.
	sightings []sighting
	due       int64
}

type sighting struct {
	revision int64
	at       time.Time
}

// observe takes a snapshot, no older than the last one, into account.
func (t *tracker) observe(s *state.Snapshot, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Revision() == t.looked {
		return
	}
	changed := documentRevision(s, t.looked)
	t.looked = s.Revision()
	if changed == 0 {
		return
	}
	t.last = changed
	if len(t.sightings) == maxSightings {
		kept := t.sightings[:0]
		for i := 1; i < maxSightings; i += 2 {
			kept = append(kept, t.sightings[i])
		}
		t.sightings = kept
	}
	t.sightings = append(t.sightings, sighting{changed, now})
}

// documentRevision returns the newest revision after the given one at which an object of the document changed; 0 if
// none did. What was removed no longer tells when, so that the snapshot's own revision stands for it.
func documentRevision(s *state.Snapshot, since int64) int64 {
	keys, known := s.ChangedSince(since)
	if !known {
		return s.Revision()
	}
	var newest int64
	for _, k := range keys {
		if !k.Kind.InDocument() {
			continue
		}
		revision := s.RevisionOf(k)
		if revision == 0 {
			return s.Revision()
		}
		newest = max(newest, revision)
	}
	return newest
}

// progress is how far a node is that has applied a revision.
type progress struct {
	// state is the newest revision of the document that is known, due the newest that is known for lagAfter.
	state, due int64
	// behindSince is when the oldest revision that is not applied was seen; zero if all is.
	behindSince time.Time
}

func (t *tracker) progress(applied int64, now time.Time) progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.sightings {
		if now.Sub(s.at) >= lagAfter {
			t.due = s.revision
			if s.revision <= applied {
				n++
			}
		}
	}
	t.sightings = t.sightings[n:]
	p := progress{state: t.last, due: t.due}
	for _, s := range t.sightings {
		if s.revision > applied {
			p.behindSince = s.at
			break
		}
	}
	return p
}
