package test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// stkcli --wait returns when every node has applied a change, and otherwise names who has not: a node that is frozen,
// and one that is away. What stkcli says about nodes and their leader is true.
func TestCommands_OfACluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 3)
	leader := c.Leader(t, 10*time.Second, c.Nodes...)
	others := c.Others(leader)
	asked, other := others[0], others[1]

	asked.Stkcli(t, "site", "add", "--domain", "all.example.org", "--wait")
	for _, n := range c.Nodes {
		// No waiting here: it was applied when stkcli returned.
		if _, err := n.CertificateOf("all.example.org"); err != nil {
			t.Errorf("%s: %v", n.Name(), err)
		}
		if s := cluster.ServeAlike(t, 10*time.Millisecond, "all.example.org", n); s == "" {
			t.Errorf("%s has no certificate", n.Name())
		}
	}

	thaw := other.Freeze(t)
	out, exit := asked.TryStkcli(t, "site", "add", "--domain", "frozen.example.org", "--wait=4")
	if exit != 5 || !strings.Contains(out, other.Name()) || strings.Contains(out, leader.Name()) {
		t.Errorf("a node is frozen: exit code %d\n%s", exit, out)
	}
	t.Logf("a node is frozen: %s", out)
	thaw()
	c.Serves(t, 20*time.Second, "frozen.example.org")

	cluster.Must(t, other.Stop())
	out, exit = asked.TryStkcli(t, "site", "add", "--domain", "absent.example.org", "--wait=20")
	if exit != 5 || !regexp.MustCompile(other.Name()+` \(absent\)`).MatchString(out) || strings.Contains(out, leader.Name()) {
		t.Errorf("a node is away: exit code %d\n%s", exit, out)
	}
	t.Logf("a node is away: %s", out)

	statusOf(t, c, asked, map[string]string{leader.Name(): api.MemberUp, asked.Name(): api.MemberUp, other.Name(): api.MemberDown})
	if out, exit = asked.TryStkcli(t, "node", "remove", "--name", leader.Name(), "--yes"); exit != 3 || !strings.Contains(out, "stop") {
		t.Errorf("a node that is up is removed: exit code %d\n%s", exit, out)
	}
	asked.Stkcli(t, "node", "remove", "--name", other.Name(), "--yes")
	asked.Stkcli(t, "site", "add", "--domain", "removed.example.org", "--wait=20")
	listOf(t, c, asked, leader.Name(), asked.Name())

	other.Start(t)
	listOf(t, c, asked, leader.Name(), asked.Name(), other.Name())
	c.Serves(t, 20*time.Second, "removed.example.org")
	asked.Stkcli(t, "site", "add", "--domain", "again.example.org", "--wait=20")

	asked.Stkcli(t, "leader", "stepdown", "--to", other.Name())
	if l := c.Leader(t, cluster.Slack, c.Nodes...); l != other {
		t.Errorf("%s leads, not %s", l.Name(), other.Name())
	}
	if out = leader.Stkcli(t, "leader", "get"); !strings.Contains(out, other.Name()) {
		t.Errorf("leader get says\n%s", out)
	}
	other.Stkcli(t, "leader", "stepdown")
	if l := c.Leader(t, cluster.Slack, c.Nodes...); l == other {
		t.Errorf("%s leads still", l.Name())
	}
	asked.Stkcli(t, "site", "add", "--domain", "last.example.org", "--wait=20")
	c.Serves(t, 10*time.Millisecond, "last.example.org")
}

// stkcliJSON returns what stkcli prints as JSON, without the warning before it.
func stkcliJSON(t testing.TB, n *cluster.Node, args ...string) []byte {
	t.Helper()
	out := n.Stkcli(t, append(args, "--output", "json")...)
	if strings.HasPrefix(out, "[Warning]") {
		_, out, _ = strings.Cut(out, "\n")
	}
	return []byte(out)
}

// statusOf waits until "stkcli cluster status" shows the members in these states.
func statusOf(t testing.TB, c *cluster.Cluster, asked *cluster.Node, want map[string]string) {
	t.Helper()
	cluster.Must(t, cluster.Poll(10*time.Second, "cluster status", func() error {
		var members map[string]api.MemberStatus
		if err := json.Unmarshal(stkcliJSON(t, asked, "cluster", "status"), &members); err != nil {
			return cluster.NoUse(err)
		}
		if len(members) != len(want) {
			return fmt.Errorf("%d members", len(members))
		}
		for _, m := range members {
			if m.State != want[m.Name] || (m.Error == "") != (m.State == api.MemberUp) {
				return fmt.Errorf("%s is %q (%s)", m.Name, m.State, m.Error)
			}
			if m.State == api.MemberUp && (m.Applied == 0 || m.Lag != 0 || m.Leader == "" || !m.Store.Healthy || len(m.Health) == 0) {
				return fmt.Errorf("%+v", m)
			}
		}
		return nil
	}))
	text := asked.Stkcli(t, "cluster", "status")
	for name := range want {
		if !strings.Contains(text, name) {
			t.Errorf("cluster status does not show %s:\n%s", name, text)
		}
	}
}

// listOf waits until "stkcli node list" shows exactly these nodes as up.
func listOf(t testing.TB, c *cluster.Cluster, asked *cluster.Node, want ...string) {
	t.Helper()
	cluster.Must(t, cluster.Poll(10*time.Second, "node list", func() error {
		var list []api.Node
		if err := json.Unmarshal(stkcliJSON(t, asked, "node", "list"), &list); err != nil {
			return cluster.NoUse(err)
		}
		up := map[string]bool{}
		for _, n := range list {
			up[n.Name] = n.Up && n.Pin != "" && n.Address != ""
		}
		for _, name := range want {
			if !up[name] {
				return fmt.Errorf("%s is not up: %+v", name, list)
			}
		}
		if len(list) != len(want) {
			return fmt.Errorf("%d nodes: %+v", len(list), list)
		}
		return nil
	}))
}

// Asking for the status of the cluster changes nobody's (weakness W38 of the earlier program).
func TestW38_ClusterStatusChangesNoStatus(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	addSite(t, c.Nodes[0].API(t), "docs.example.org")
	c.Serves(t, 20*time.Second, "docs.example.org")
	ctx := context.Background()
	for _, n := range c.Nodes {
		cluster.Must(t, n.Settled())
	}
	for range 3 {
		for _, n := range c.Nodes {
			if _, err := n.API(t).ClusterStatus(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range c.Nodes {
			var answer api.Answer
			s, err := n.API(t).Status(ctx, "", false, api.Observe(&answer))
			if err != nil || answer.Status != 200 || len(s.Health) != 1 || !s.Health[0].Healthy {
				t.Errorf("%s: status %d, %+v, %v", n.Name(), answer.Status, s, err)
			}
		}
	}
}
