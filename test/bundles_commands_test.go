package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"statiko/test/cluster"
)

// What stkcli says of where bundles are is true: with all nodes up, with one away, and when it is back.
func TestCommands_BundlesOfACluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	asked, other := c.Nodes[0], c.Nodes[1]
	site := t.TempDir()
	page := func(text string) {
		t.Helper()
		cluster.Must(t, os.WriteFile(filepath.Join(site, "index.html"), []byte(text), 0o600))
	}
	listed := func(want string) {
		t.Helper()
		cluster.Must(t, cluster.Poll(time.Minute, "app list says "+want, func() error {
			out := asked.Stkcli(t, "app", "list")
			if !regexp.MustCompile(`(?m)^Nodes: +` + want + `$`).MatchString(out) {
				return fmt.Errorf("it says\n%s", out)
			}
			return nil
		}))
	}

	page("one")
	out := asked.Stkcli(t, "app", "upload", "-a", "docs-1", "-f", site, "--wait", "-v")
	if !strings.Contains(out, "unpacked on 2 of 2 nodes") || strings.Contains(out, "is stored on") {
		t.Errorf("all nodes are up:\n%s", out)
	}
	// No waiting here: it was there when stkcli returned.
	if out = other.Stkcli(t, "app", "list"); !regexp.MustCompile(`(?m)^Nodes: +2/2$`).MatchString(out) {
		t.Errorf("the other node says\n%s", out)
	}

	cluster.Must(t, other.Stop())
	page("two")
	out, exit := asked.TryStkcli(t, "app", "upload", "-a", "docs-2", "-f", site, "--wait=10")
	if exit != 5 || !strings.Contains(out, "docs-2 is stored on 1 of 2 nodes; the others fetch it when they can") ||
		!strings.Contains(out, other.Name()+" (absent)") {
		t.Errorf("a node is away: exit code %d\n%s", exit, out)
	}
	listed(`1/2 \(down: ` + other.Name() + `\)`)

	other.Start(t)
	cluster.Must(t, cluster.Poll(time.Minute, "the other node has the bundle", func() error {
		if out := asked.Stkcli(t, "app", "list"); strings.Contains(out, "1/2") {
			return fmt.Errorf("%s", out)
		}
		return nil
	}))
	got := filepath.Join(t.TempDir(), "docs-2.tar.gz")
	other.Stkcli(t, "app", "download", "-a", "docs-2", "-o", got)
	digest := regexp.MustCompile(`SHA256: +([0-9a-f]{64})`)
	packed, fetched := digest.FindString(asked.Stkcli(t, "app", "verify", "-f", site)), digest.FindString(asked.Stkcli(t, "app", "verify", "-f", got))
	if packed == "" || packed != fetched {
		t.Errorf("the folder has %q, and what the other node gives %q", packed, fetched)
	}

	// Deployed through one node and rolled back through the other, it is served by both when stkcli returns.
	asked.Stkcli(t, "site", "add", "--domain", "docs.example.org", "--wait")
	asked.Stkcli(t, "deploy", "-d", "docs.example.org", "-a", "docs-1", "--wait")
	asked.Stkcli(t, "deploy", "-d", "docs.example.org", "--path", site, "--wait")
	other.Stkcli(t, "deploy", "-d", "docs.example.org", "--rollback", "--wait")
	for _, n := range c.Nodes {
		v := cluster.NewVisitor(n)
		p, err := v.Get("https://docs.example.org/")
		v.Close()
		if err != nil || string(p.Body) != "one" {
			t.Errorf("%s serves %q: %v", n.Name(), p.Body, err)
		}
	}
	if out = asked.Stkcli(t, "site", "history", "-d", "docs.example.org"); !regexp.MustCompile(`(?s)App: +docs-1\n.*Current: +yes\n.*App: +docs-[0-9a-f]{12}\n.*Can go back: +yes`).MatchString(out) {
		t.Errorf("site history says\n%s", out)
	}
}
