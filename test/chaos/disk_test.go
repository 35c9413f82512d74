package chaos

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"statiko/test/cluster"
)

// A node's data folder is on a disk that is full for a while: it serves on and takes changes that need no disk, refuses a
// bundle with the reason, and is as good as before when there is space again.
func TestChaos_ANodesDiskIsFull(t *testing.T) {
	Wanted(t)
	if !cluster.CanMount(t) {
		t.Skip("a small disk can be mounted by root only")
	}
	t.Run("of a node that serves itself", func(t *testing.T) { diskIsFull(t, false) })
	if cluster.HaveNginx(t) {
		t.Run("of a node with nginx", func(t *testing.T) { diskIsFull(t, true) })
	}
}

func diskIsFull(t *testing.T, nginx bool) {
	c := cluster.New(t, cluster.Options{Bin: built(t), Nodes: 2, Links: true})
	n := c.Nodes[1]
	repo := n.Settings["repo.local.path"]
	n.UseDisk(t, "16m")
	if nginx {
		n.UseNginx(t)
	}
	n.Settings["repo.local.path"] = repo // there is space for the bundles themselves
	cluster.Must(t, n.Write())
	c.Start(t)
	s := NewScene(t, c, Seed(t), &allScenes)
	s.Round(Usual(), func() {
		cluster.Must(t, cluster.FillDisk(n.Disk))
		s.events.say("the disk of %s is full", n.Name())
		s.pause(3*time.Second, 5*time.Second)
		app := cluster.Zip(map[string][]byte{"index.html": bytes.Repeat([]byte("x"), 1<<20)})
		out := filepath.Join(t.TempDir(), "app.zip")
		cluster.Must(t, os.WriteFile(out, app, 0o600))
		text, exit := n.TryStkcli(t, "app", "upload", "-a", "large", "-f", out)
		if exit == 0 || !bytes.Contains([]byte(text), []byte("space")) && !bytes.Contains([]byte(text), []byte("disk")) {
			t.Errorf("an upload to a full disk: exit code %d\n%s", exit, text)
		}
		s.events.say("an upload to the full disk: exit code %d: %s", exit, text)
		s.minds.disturb(n)
		n.Kill()
		cluster.Must(t, n.Launch())
		s.events.say("%s is started again with its disk full", n.Name())
		cluster.Must(t, n.Open())
		cluster.Must(t, cluster.Poll(cluster.StartTimeout, n.Name()+" serves with its disk full", func() error { return s.serving(n) }))
		s.minds.calm(n, true)
		s.pause(2*time.Second, 3*time.Second)
		cluster.Must(t, cluster.FreeDisk(n.Disk))
		s.events.say("the disk of %s has space again", n.Name())
		s.pause(time.Second, 2*time.Second)
	})
	n.Stkcli(t, "app", "list")
}
