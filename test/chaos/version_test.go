package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/test/cluster"
	"statiko/test/history"
)

// Nodes of this version are in the cluster of a newer one, whose state they can read and must not change: they serve and
// answer reads, refuse every change with the reason, and take part as soon as they are updated, one after the other.
func TestChaos_OlderAndNewerNodes(t *testing.T) {
	Wanted(t)
	newer := filepath.Join(t.TempDir(), "newer")
	cluster.Must(t, cluster.BuildNewer(newer, "-race"))
	c := cluster.New(t, cluster.Options{Bin: built(t), Nodes: 3, Links: true})
	first, older := c.Nodes[0], c.Nodes[1:]
	first.Bin = newer
	first.Start(t)
	cluster.Must(t, first.Healthy())
	for _, n := range older {
		n.Start(t)
	}
	s := NewScene(t, c, Seed(t), &allScenes)
	begun := map[string]time.Duration{}
	s.Round(Usual(), func() {
		s.pause(4*time.Second, 6*time.Second)
		// Who cannot change the state cannot lead.
		client := first.PatientClient(patience)
		defer client.Close()
		if err := client.StepDown(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "waits to lead") {
			t.Errorf("the newer node was told to hand the leadership over to an older one: %v", err)
		}
		for _, n := range older {
			s.minds.disturb(n)
			cluster.Must(t, n.Stop())
			begun[n.Name()] = s.calls.Now()
			n.Bin = newer
			s.events.say("%s is updated", n.Name())
			s.started(n)
			s.pause(2*time.Second, 3*time.Second)
		}
	})
	refused, made := map[string]int{}, map[string]int{}
	for _, call := range s.calls.Calls() {
		updated, old := begun[call.Node]
		switch {
		case !old || call.Op == history.Read:
		case call.Begin > updated && call.Result == history.OK:
			made[call.Node]++
		case call.End < updated && call.Result == history.OK && call.Op != history.Change:
			// A change to what a site has already changes nothing, and is acknowledged.
			t.Errorf("the older %s changed the state: %s %s", call.Node, call.Op, call.Domain)
		case call.Result == history.Refused && strings.Contains(call.Error, "update this node"):
			refused[call.Node]++
		}
	}
	for _, n := range older {
		if refused[n.Name()] < 10 || made[n.Name()] < 10 {
			t.Errorf("%s refused %d changes with the reason, and made %d after its update", n.Name(), refused[n.Name()], made[n.Name()])
		}
	}
	t.Log(fmt.Sprint("refused by the older nodes: ", refused, "; made by them when updated: ", made))
}
