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
	n := newNodes(t, nil, "a", "b")
	away := func(a, b bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.down["a"], n.down["b"] = a, b
	}
	away(false, true)
	app := n.mustAdd("a", "app", n.site("x"))
	away(true, false)
	if err := n.all["b"].CheckDeploy(t.Context(), app); !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("deploying it: %v", err)
	}
	// What fails on the node itself is another thing.
	spool := n.all["b"].SpoolDir
	n.all["b"].SpoolDir = filepath.Join(spool, "gone")
	away(false, false)
	if err := n.all["b"].CheckDeploy(t.Context(), app); err == nil || errors.Is(err, state.ErrUnavailable) {
		t.Errorf("deploying it when the node's own folder is not there: %v", err)
	}
	n.all["b"].SpoolDir = spool
	if err := n.all["b"].CheckDeploy(t.Context(), app); err != nil {
		t.Errorf("deploying it when it can be had: %v", err)
	}
}
