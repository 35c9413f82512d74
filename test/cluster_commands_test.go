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
)

// stkcli --wait returns when every node has applied a change, and otherwise names who has not: a node that is frozen,
// and one that is away. What stkcli says about nodes and their leader is true.
func TestCommands_OfACluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 3)
	leader := c.leader(t, 10*time.Second, c.nodes...)
	others := c.others(leader)
	asked, other := others[0], others[1]

	asked.stkcli(t, "site", "add", "--domain", "all.example.org", "--wait")
	for _, n := range c.nodes {
		// No waiting here: it was applied when stkcli returned.
		if _, err := n.certificateOf("all.example.org"); err != nil {
			t.Errorf("%s: %v", n.name(), err)
		}
		if s := serveAlike(t, 10*time.Millisecond, "all.example.org", n); s == "" {
			t.Errorf("%s has no certificate", n.name())
		}
	}

	thaw := other.freeze(t)
	out, exit := asked.tryStkcli(t, "site", "add", "--domain", "frozen.example.org", "--wait=4")
	if exit != 5 || !strings.Contains(out, other.name()) || strings.Contains(out, leader.name()) {
		t.Errorf("a node is frozen: exit code %d\n%s", exit, out)
	}
	t.Logf("a node is frozen: %s", out)
	thaw()
	c.serves(t, 20*time.Second, "frozen.example.org")

	must(t, other.stop())
	out, exit = asked.tryStkcli(t, "site", "add", "--domain", "absent.example.org", "--wait=20")
	if exit != 5 || !regexp.MustCompile(other.name()+` \(absent\)`).MatchString(out) || strings.Contains(out, leader.name()) {
		t.Errorf("a node is away: exit code %d\n%s", exit, out)
	}
	t.Logf("a node is away: %s", out)

	c.statusOf(t, asked, map[string]string{leader.name(): api.MemberUp, asked.name(): api.MemberUp, other.name(): api.MemberDown})
	if out, exit = asked.tryStkcli(t, "node", "remove", "--name", leader.name(), "--yes"); exit != 3 || !strings.Contains(out, "stop") {
		t.Errorf("a node that is up is removed: exit code %d\n%s", exit, out)
	}
	asked.stkcli(t, "node", "remove", "--name", other.name(), "--yes")
	asked.stkcli(t, "site", "add", "--domain", "removed.example.org", "--wait=20")
	c.listOf(t, asked, leader.name(), asked.name())

	other.start(t)
	c.listOf(t, asked, leader.name(), asked.name(), other.name())
	c.serves(t, 20*time.Second, "removed.example.org")
	asked.stkcli(t, "site", "add", "--domain", "again.example.org", "--wait=20")

	asked.stkcli(t, "leader", "stepdown", "--to", other.name())
	if l := c.leader(t, slack, c.nodes...); l != other {
		t.Errorf("%s leads, not %s", l.name(), other.name())
	}
	if out = leader.stkcli(t, "leader", "get"); !strings.Contains(out, other.name()) {
		t.Errorf("leader get says\n%s", out)
	}
	other.stkcli(t, "leader", "stepdown")
	if l := c.leader(t, slack, c.nodes...); l == other {
		t.Errorf("%s leads still", l.name())
	}
	asked.stkcli(t, "site", "add", "--domain", "last.example.org", "--wait=20")
	c.serves(t, 10*time.Millisecond, "last.example.org")
}

// stkcliJSON returns what stkcli prints as JSON, without the warning before it.
func (n *node) stkcliJSON(t testing.TB, args ...string) []byte {
	t.Helper()
	out := n.stkcli(t, append(args, "--output", "json")...)
	if strings.HasPrefix(out, "[Warning]") {
		_, out, _ = strings.Cut(out, "\n")
	}
	return []byte(out)
}

// statusOf waits until "stkcli cluster status" shows the members in these states.
func (c *cluster) statusOf(t testing.TB, asked *node, want map[string]string) {
	t.Helper()
	must(t, poll(10*time.Second, "cluster status", func() error {
		var members map[string]api.MemberStatus
		if err := json.Unmarshal(asked.stkcliJSON(t, "cluster", "status"), &members); err != nil {
			return final{err}
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
	text := asked.stkcli(t, "cluster", "status")
	for name := range want {
		if !strings.Contains(text, name) {
			t.Errorf("cluster status does not show %s:\n%s", name, text)
		}
	}
}

// listOf waits until "stkcli node list" shows exactly these nodes as up.
func (c *cluster) listOf(t testing.TB, asked *node, want ...string) {
	t.Helper()
	must(t, poll(10*time.Second, "node list", func() error {
		var list []api.Node
		if err := json.Unmarshal(asked.stkcliJSON(t, "node", "list"), &list); err != nil {
			return final{err}
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
	addSite(t, apiOf(t, c.nodes[0]), "docs.example.org")
	c.serves(t, 20*time.Second, "docs.example.org")
	ctx := context.Background()
	for _, n := range c.nodes {
		must(t, n.settled())
	}
	for range 3 {
		for _, n := range c.nodes {
			if _, err := apiOf(t, n).ClusterStatus(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range c.nodes {
			var answer api.Answer
			s, err := apiOf(t, n).Status(ctx, "", false, api.Observe(&answer))
			if err != nil || answer.Status != 200 || len(s.Health) != 1 || !s.Health[0].Healthy {
				t.Errorf("%s: status %d, %+v, %v", n.name(), answer.Status, s, err)
			}
		}
	}
}
