package chaos

import (
	"fmt"
	"testing"
	"time"

	"statiko/test/cluster"
	"statiko/test/etcdtest"
)

// newScene starts three nodes, each behind lines of its own, and an etcd of three members.
func newScene(t testing.TB, seed uint64, settings ...string) *Scene {
	t.Helper()
	return NewScene(t, cluster.Start(t, cluster.Options{
		Bin: built(t), Nodes: 3, Links: true, Etcd: etcdtest.Options{Members: 3}, Settings: settings,
	}), seed, &allScenes)
}

// All faults come, in an order that the seed decides, one of nodes and one of etcd at a time, while clients change and restore
// sites, and upload and deploy bundles, through all nodes. nginx serves the sites of one of them.
func TestChaos_Random(t *testing.T) {
	Wanted(t)
	seed := Seed(t)
	c := cluster.New(t, cluster.Options{Bin: built(t), Nodes: 3, Links: true, Etcd: etcdtest.Options{Members: 3}})
	faults := Faults()
	took := Time(t, 90*time.Second)
	if cluster.HaveDisks(t) {
		// Archives stay for a day, and what is unpacked until the node has lived for some minutes.
		size := fmt.Sprintf("%dm", 64+int(took.Minutes()*10))
		for _, n := range c.Nodes {
			n.UseDisk(t, size)
		}
		faults = append(faults, DiskFaults()...)
	}
	if cluster.HaveNginx(t) {
		c.Nodes[1].UseNginx(t)
		faults = append(faults, NginxFaults()...)
	}
	c.Start(t)
	load := Usual()
	load.Deployers, load.Between = 3, 300*time.Millisecond
	NewScene(t, c, seed, &allScenes).Random(load, faults, took)
}
