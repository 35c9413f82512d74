package bundle

import (
	"errors"
	"path/filepath"
	"testing"

	"statiko/state"
)

// A bundle is in the state, but who has its archive is away: that is said as what cannot be done now, not as a fault.
func TestCheckDeploy_WhoHasTheArchiveIsAway(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b", "c")
	away := func(a, b, c bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.down["a"], n.down["b"], n.down["c"] = a, b, c
	}
	away(false, true, true)
	app := n.mustAdd("a", "app", n.site("x"))
	for _, alone := range []bool{true, false} {
		away(true, false, alone)
		if err := n.all["b"].CheckDeploy(t.Context(), app); !errors.Is(err, state.ErrUnavailable) {
			t.Errorf("deploying it, with a third node up: %t: %v", !alone, err)
		}
	}
	// What fails on the node itself is another thing.
	spool := n.all["b"].SpoolDir
	n.all["b"].SpoolDir = filepath.Join(spool, "gone")
	away(false, false, true)
	if err := n.all["b"].CheckDeploy(t.Context(), app); err == nil || errors.Is(err, state.ErrUnavailable) {
		t.Errorf("deploying it when the node's own folder is not there: %v", err)
	}
	n.all["b"].SpoolDir = spool
	if err := n.all["b"].CheckDeploy(t.Context(), app); err != nil {
		t.Errorf("deploying it when it can be had: %v", err)
	}
}
