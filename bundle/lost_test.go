package bundle

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"statiko/state"
)

// losing are peers who take no copy; when they are asked, this node's folder is lost.
type losing struct {
	Peers
	lose func()
}

func (p losing) Offer(context.Context, string, *state.App) error {
	p.lose()
	return errors.New("it is about to stop")
}

// A node loses its folder after it stored an upload, and before it acknowledges it, while no other node takes a copy: what is
// acknowledged is there.
func TestAdd_TheFolderIsLostMeanwhile(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b")
	folder := n.all["a"].own().(*Local)
	lose := func() {
		path, err := folder.Path("app")
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			t.Error(err)
		}
		_ = os.Remove(folder.metaPath("app"))
	}
	n.all["a"].Peers = losing{n.all["a"].Peers, lose}
	archive := n.site("x")
	n.mustAdd("a", "app", archive)
	if got := n.archive("a", "app"); !bytes.Equal(got, archive) {
		t.Errorf("it has %d bytes of %d", len(got), len(archive))
	}
}

// A bundle that was lost everywhere is there again when it is uploaded again.
func TestAdd_AgainBringsBackWhatWasLost(t *testing.T) {
	t.Parallel()
	n := newNodes(t, nil, "a", "b")
	archive := n.site("x")
	app := n.mustAdd("a", "app", archive)
	for _, l := range n.all {
		if err := removeArchive(t.Context(), l.own(), app); err != nil {
			t.Fatal(err)
		}
	}
	n.mustAdd("b", "app", archive)
	if got := n.archive("b", "app"); !bytes.Equal(got, archive) {
		t.Errorf("it has %d bytes of %d", len(got), len(archive))
	}
}
