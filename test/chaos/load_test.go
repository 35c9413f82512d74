package chaos

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/test/cluster"
	"statiko/test/etcdtest"
	"statiko/test/history"
)

// All nodes are restarted one after the other under 1,000 visits a second, which go to another node if one does not
// answer, as a balancer does: every visit is answered, and with the right page.
func TestChaos_NodesRestartedUnderVisitors(t *testing.T) {
	Wanted(t)
	bin := filepath.Join(t.TempDir(), "fast")
	cluster.Must(t, cluster.Build(bin))
	s := NewScene(t, cluster.Start(t, cluster.Options{Bin: bin, Nodes: 3, Links: true, Etcd: etcdtest.Options{Members: 3}}),
		Seed(t), &allScenes)
	const rate, visitors = 1000, 50
	var visits, retries atomic.Int64
	var longest atomic.Int64
	load := Usual()
	load.Writers, load.Operators = 2, 1
	var took time.Duration
	s.Round(load, func() {
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		began := time.Now()
		defer func() { took = time.Since(began) }()
		defer all.Wait()
		defer stop()
		for i := range visitors {
			all.Go(func() {
				to := make([]*cluster.Visitor, len(s.Nodes))
				for j, n := range s.Nodes {
					to[j] = cluster.NewVisitor(n)
					defer to[j].Close()
				}
				ticker := time.NewTicker(visitors * time.Second / rate)
				defer ticker.Stop()
				for number := i; ; number++ {
					select {
					case <-ctx.Done():
						return
					case <-ticker.C:
					}
					from := time.Now()
					tries, err := balanced(to, number)
					if err != nil {
						s.events.fault("a visit: %v", err)
						return
					}
					visits.Add(1)
					retries.Add(int64(tries - 1))
					longest.Store(max(longest.Load(), int64(time.Since(from))))
				}
			})
		}
		s.pause(2*time.Second, 3*time.Second)
		s.rollingRestart()
		s.rollingRestart()
		s.pause(2*time.Second, 3*time.Second)
	})
	t.Logf("%d visits in %s (%.0f a second), %d of them at another node, the slowest after %s", visits.Load(), took.Round(time.Second),
		float64(visits.Load())/took.Seconds(), retries.Load(), time.Duration(longest.Load()).Round(time.Millisecond))
}

// balanced asks one node after the other for the steady site, once each. An answer must be the right one.
func balanced(to []*cluster.Visitor, first int) (tries int, err error) {
	for tries = 1; tries <= len(to); tries++ {
		p, e := to[(first+tries)%len(to)].Get("https://" + Steady + "/")
		if e != nil {
			err = e
			continue
		}
		if p.Status != 200 || !bytes.Equal(p.Body, steadyPage) {
			return tries, fmt.Errorf("status %d, %.60q", p.Status, p.Body)
		}
		return tries, nil
	}
	return tries, fmt.Errorf("no node answered: %w", err)
}

// Two thousand names flap: sixteen writers add and remove them through all nodes without a pause.
func TestChaos_ThousandsOfSitesFlap(t *testing.T) {
	Wanted(t)
	s := newScene(t, Seed(t))
	load := Load{Writers: 16, Pause: time.Millisecond, Groups: 500, Names: 4}
	s.Round(load, func() {
		sites := history.Sites{}
		for group := 1; group < load.Groups; group++ {
			for number := range 2 {
				sites[history.Name(s.Prefix(), group, number)] = []string{history.Alias(s.Prefix(), group, number)}
			}
		}
		s.Restore(-2, s.Nodes[1], s.Nodes[1].API(t), sites)
		s.pause(20*time.Second, 25*time.Second)
	})
}

// Four operators restore whole states through all nodes at once, while others change sites: each restore is whole, the
// last one wins, and no acknowledged change after it is lost.
func TestChaos_OperatorsRestoreAtOnce(t *testing.T) {
	Wanted(t)
	s := newScene(t, Seed(t))
	load := Load{Writers: 6, Pause: 10 * time.Millisecond, Operators: 4, Rest: 150 * time.Millisecond, Groups: 8, Names: 5}
	s.Round(load, func() { s.pause(15*time.Second, 20*time.Second) })
	if n := s.calls.Counts()["restore ok"]; n < 10 {
		t.Errorf("only %d restores", n)
	}
}
