package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"statiko/api"
)

// Weakness W4 of the earlier program: what could not be written was answered with an error, and shown from then on
// all the same.
func TestW4_ChangeThatCannotBeWrittenIsNowhere(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1M"); err != nil {
		t.Skipf("mount of a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	n := start(t, t.TempDir(), "DIR/state.json=>"+filepath.Join(disk, "state.json"))
	t.Cleanup(n.stop) // before the disk goes
	n.addSite("before.test")
	ballast := filepath.Join(disk, "ballast")
	err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk does not fill up: %v", err)
	}
	// The last page of the journal takes some more.
	added := map[string]bool{"before.test": true}
	var refusal error
	for i := 0; refusal == nil && i < 1000; i++ {
		name := fmt.Sprintf("s%d.test", i)
		if _, refusal = n.client.CreateSite(n.ctx(), api.SiteCreate{Domain: name}); refusal == nil {
			added[name] = true
		}
	}
	if e, ok := errors.AsType[*api.Error](refusal); !ok || e.Status != 507 && e.Status != 503 {
		t.Fatalf("on a full disk: %v", refusal)
	}
	var doc strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&doc, `,{"domain":"r%d.test"}`, i)
	}
	if err := n.setState(`{"sites":[` + doc.String()[1:] + `]}`); err == nil {
		t.Error("a document that does not fit was restored")
	}
	list, err := n.client.Sites(n.ctx())
	n.ok(err)
	for _, s := range list {
		if !added[s.Domain] {
			t.Errorf("%s is shown, and was refused", s.Domain)
		}
	}
	if len(list) != len(added) {
		t.Errorf("%d sites are shown, %d were acknowledged", len(list), len(added))
	}
	if p := n.get("before.test", "/"); p.status != 200 {
		t.Errorf("sites are served on: %d", p.status)
	}
	if st, err := n.client.Status(n.ctx(), "", false); err != nil || st.Store.Healthy || st.Store.Reason == "" {
		t.Errorf("the status: %+v, %v", st, err)
	}
	n.ok(os.Remove(ballast))
	n.eventually(func() error {
		_, err := n.client.CreateSite(n.ctx(), api.SiteCreate{Domain: "after.test"})
		return err
	})
	n.eventually(func() error {
		st, err := n.client.Status(n.ctx(), "after.test", false)
		if err == nil && !st.Health[0].Healthy {
			err = errors.New(st.Health[0].Error)
		}
		return err
	})
}
