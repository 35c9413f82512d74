package chaos

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"statiko/test/cluster"
)

// NginxFaults returns the faults of a node's nginx; the scene must have such a node.
func NginxFaults() []Fault {
	return []Fault{
		{"a node whose sites nginx serves is killed", false, func(s *Scene) func() { return s.killed(s.nginxNode()) }},
		{"a node whose sites nginx serves freezes", false, func(s *Scene) func() { return s.frozen(s.nginxNode()) }},
		{"nginx is killed, but not its workers", false, (*Scene).nginxKilled},
		{"a worker of nginx is killed", false, (*Scene).nginxWorkerKilled},
	}
}

// nginxNode returns the node whose sites nginx serves.
func (s *Scene) nginxNode() *cluster.Node {
	i := slices.IndexFunc(s.Nodes, (*cluster.Node).HasNginx)
	if i < 0 {
		s.T.Fatal("no node has nginx")
	}
	return s.Nodes[i]
}

// nginxOf waits until the node's nginx runs with at least a worker.
func (s *Scene) nginxOf(n *cluster.Node) (found cluster.Nginx) {
	cluster.Must(s.T, cluster.Poll(cluster.StartTimeout, "nginx of "+n.Name()+" runs", func() (err error) {
		if found, err = n.Nginx(); err == nil && len(found.Workers) == 0 {
			err = errors.New("it has no worker")
		}
		return err
	}))
	return found
}

// nginxKilled kills the master: the node ends its workers and starts another. No visitor may notice more than a wait: the
// listeners stay open, and workers end with their last request.
func (s *Scene) nginxKilled() func() {
	n := s.nginxNode()
	before := s.nginxOf(n)
	s.events.say("nginx of %s is killed (process %d)", n.Name(), before.Master)
	cluster.Must(s.T, cluster.KillAndWait(before.Master))
	return func() {
		cluster.Must(s.T, cluster.Poll(cluster.StartTimeout, "another nginx of "+n.Name()+" has taken the place of the killed one", func() error {
			now, err := n.Nginx()
			if err != nil {
				return err
			}
			for _, id := range slices.Concat(now.Workers, now.Ending) {
				if slices.Contains(before.Workers, id) {
					return fmt.Errorf("the worker %d of the killed one is left", id)
				}
			}
			return s.serving(n)
		}))
		s.events.say("nginx of %s runs again", n.Name())
	}
}

// nginxWorkerKilled kills a worker: what it was answering is lost, and nothing else.
func (s *Scene) nginxWorkerKilled() func() {
	n := s.nginxNode()
	s.minds.disturb(n)
	defer s.minds.calm(n, false)
	for {
		worker := s.nginxOf(n).Workers[0]
		err := cluster.KillAndWait(worker)
		if errors.Is(err, syscall.ESRCH) {
			continue // it ended by itself, as workers do when nginx has read a new configuration
		}
		cluster.Must(s.T, err)
		s.events.say("the worker %d of nginx of %s was killed", worker, n.Name())
		return nil
	}
}

// servesOn notes a fault unless the node's nginx serves while the node itself is killed or frozen.
func (s *Scene) servesOn(n *cluster.Node) {
	if !n.HasNginx() {
		return
	}
	if err := s.serving(n); err != nil {
		s.events.fault("nginx of %s does not serve on without its node: %v", n.Name(), err)
	}
}
