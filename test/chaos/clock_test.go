package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
	"statiko/test/etcdtest"
)

// The clock of a node is wrong: four minutes ahead or behind, which calls between nodes bear, and three hours ahead, which
// they do not. What clients are told and shown stays right, terms of the
// leader are those of etcd's leases, and who can be asked is said.
func TestChaos_ClocksAreWrong(t *testing.T) {
	Wanted(t)
	bin := filepath.Join(t.TempDir(), "clock")
	cluster.Must(t, cluster.BuildWithClock(bin))
	seed := Seed(t)
	for _, test := range []struct {
		name   string
		shifts []time.Duration
		// refused tells that the clocks are too far apart for calls between nodes.
		refused bool
	}{
		{"by minutes, ahead", []time.Duration{0, 4 * time.Minute}, false},
		{"by minutes, behind", []time.Duration{0, -4 * time.Minute}, false},
		{"by hours", []time.Duration{0, 3 * time.Hour}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := cluster.Options{Bin: bin, Nodes: len(test.shifts), Links: true, Etcd: etcdtest.Options{Members: 1}}
			if test.refused {
				// Nodes that refuse each other's calls copy no bundles either: they see one folder.
				o.Settings = []string{"repo.local.path=" + t.TempDir()}
			}
			c := cluster.New(t, o)
			for i, n := range c.Nodes {
				n.Env = append(n.Env, fmt.Sprintf("%s=%d", cluster.ClockShift, int64(test.shifts[i].Seconds())))
			}
			c.Start(t)
			for i, n := range c.Nodes {
				shiftIs(t, n, test.shifts[i])
			}
			s := NewScene(t, c, seed, &allScenes)
			s.Round(Usual(), func() {
				for _, f := range Faults() {
					if f.Name == "the leader is killed" || f.Name == "the leader's packets to etcd are lost" {
						s.Apply(f)
					}
				}
			})
			for _, n := range c.Nodes {
				client := n.API(t)
				cluster.Must(t, cluster.Poll(20*time.Second, "the members that can be asked, for "+n.Name(), func() error {
					members, err := client.ClusterStatus(context.Background())
					if err != nil {
						return err
					}
					up := 0
					for _, m := range members {
						if m.State == api.MemberUp {
							up++
						} else if test.refused && m.Error == "" {
							return fmt.Errorf("%s cannot be asked, and it is not said why", m.Name)
						}
					}
					if want := len(c.Nodes); !test.refused && up != want || test.refused && up != 1 {
						return fmt.Errorf("%d members are up: %+v", up, members)
					}
					return nil
				}))
			}
		})
	}
}

// shiftIs makes sure that the node's clock is as wrong as it is said to be.
func shiftIs(t *testing.T, n *cluster.Node, want time.Duration) {
	t.Helper()
	s, err := n.API(t).Status(context.Background(), "", false)
	cluster.Must(t, err)
	if got := time.Until(s.Sync.LastSync); got < want-time.Minute || got > want+time.Minute {
		t.Fatalf("the clock of %s is off by %s, not %s", n.Name(), got, want)
	}
}
