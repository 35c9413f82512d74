package test

import (
	"testing"
	"time"

	"statiko/test/chaos"
	"statiko/test/cluster"
)

// The harness itself works, in a few seconds: clients on two nodes, of which one is killed and one cut off, and the
// judgement of what they were told. "make chaos" does it for minutes; see docs/reliability.md.
func TestChaos_Smoke(t *testing.T) {
	t.Parallel()
	s := chaos.NewScene(t, cluster.Start(t, cluster.Options{Bin: builtFast(t), Nodes: 2, Links: true}), 1, nil)
	load := chaos.Usual()
	load.Groups = 4
	s.Round(load, func() {
		for _, f := range chaos.Faults() {
			switch f.Name {
			case "a node is killed", "a node's connections with etcd are reset":
				mend := f.Begin(s)
				cluster.Until(time.Now().Add(700 * time.Millisecond))
				mend()
			}
		}
	})
}
