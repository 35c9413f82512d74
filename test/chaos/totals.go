package chaos

import (
	"fmt"
	"sync"
	"testing"

	"statiko/test/history"
)

// Totals are what was recorded and judged, in any number of rounds. They are safe for concurrent use.
type Totals struct {
	mu                                                                                   sync.Mutex
	rounds, calls, refused, unknown, restores, views, visits, uploads, deployments, full int
}

// add counts a round.
func (t *Totals) add(s *Scene) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rounds++
	count := func(c history.Call) {
		t.calls++
		switch c.Result {
		case history.Refused:
			t.refused++
			if saysFull(c) {
				t.full++
			}
		case history.Unknown:
			t.unknown++
		case history.OK:
			switch c.Op {
			case history.Restore:
				t.restores++
			case history.Upload:
				t.uploads++
			case history.Deploy:
				t.deployments++
			}
		}
	}
	for _, c := range s.calls.Calls() {
		count(c)
	}
	for _, c := range s.bundles.calls.Calls() {
		// Restores are in both.
		if c.Op != history.Restore {
			count(c)
		}
	}
	t.views += s.views.Len()
	t.visits += int(s.visits.Load())
}

// mustShow fails the test if nothing was recorded of what the load and the faults are for: bundles, if clients deployed any,
// and refusals for a full disk, if a disk was full.
func (t *Totals) mustShow(tb testing.TB, load Load, full bool) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if load.Deployers > 0 && (t.uploads == 0 || t.deployments == 0) {
		tb.Errorf("the run shows nothing of bundles: %d uploads and %d deployments were acknowledged", t.uploads, t.deployments)
	}
	if full && t.full == 0 {
		tb.Error("the run shows nothing of full disks: there were some, and no call was refused for one")
	}
}

// String is the totals in one line.
func (t *Totals) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d rounds; %d calls, of these %d refused (%d as a disk was full), %d of unknown outcome; acknowledged: %d restores, "+
		"%d uploads of bundles, %d deployments; %d different views; %d visits",
		t.rounds, t.calls, t.refused, t.full, t.unknown, t.restores, t.uploads, t.deployments, t.views, t.visits)
}
