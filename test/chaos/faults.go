package chaos

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/cluster"
	"statiko/test/etcdtest"
)

// A Fault breaks something and returns how it is mended. It says what it does.
type Fault struct {
	Name string
	// Etcd tells that etcd is broken, and not nodes or their links: one fault of each sort may be there at a time.
	Etcd bool
	// Begin breaks it.
	Begin func(*Scene) (mend func())
}

// Faults returns the faults that every cluster with links can have. Some break what they break at once, and have nothing to mend.
func Faults() []Fault {
	return []Fault{
		{"a node is killed", false, func(s *Scene) func() { return s.killed(s.anyNode()) }},
		{"the leader is killed", false, func(s *Scene) func() { return s.killed(s.leaderOrAny()) }},
		{"a node is terminated", false, func(s *Scene) func() { return s.terminated(s.anyNode()) }},
		{"a node freezes", false, func(s *Scene) func() { return s.frozen(s.anyNode()) }},
		{"the leader freezes", false, func(s *Scene) func() { return s.frozen(s.leaderOrAny()) }},
		{"the leader steps down", false, (*Scene).stepsDown},
		{"all nodes are restarted, one after the other", false, (*Scene).rollingRestart},
		{"a node is cut off from etcd", false, func(s *Scene) func() { return s.link(s.anyNode(), "cut", cluster.Links.Cut) }},
		{"a node's packets to etcd are lost", false, func(s *Scene) func() { return s.link(s.anyNode(), "silent", cluster.Links.Silence) }},
		{"the leader's packets to etcd are lost", false, func(s *Scene) func() { return s.link(s.leaderOrAny(), "silent", cluster.Links.Silence) }},
		{"a node's connections with etcd are reset", false, func(s *Scene) func() { return s.link(s.anyNode(), "reset", cluster.Links.Reset) }},
		{"a node's line to etcd is slow", false, func(s *Scene) func() {
			delay, rate := time.Duration(20+s.random.IntN(200))*time.Millisecond, 64<<10
			return s.link(s.anyNode(), fmt.Sprintf("slow (%s each way, %d bytes a second)", delay, rate), func(l cluster.Links) { l.Slow(delay, rate) })
		}},
		{"all nodes are cut off from etcd", false, (*Scene).split},
		{"a member of etcd is killed", true, func(s *Scene) func() { return s.membersKilled(1) }},
		{"the majority of etcd is killed", true, func(s *Scene) func() { return s.membersKilled(s.majority()) }},
		{"all of etcd is killed", true, func(s *Scene) func() { return s.membersKilled(len(s.Etcd.Members())) }},
		{"a member of etcd freezes", true, func(s *Scene) func() { return s.membersFrozen(1) }},
		{"the majority of etcd freezes", true, func(s *Scene) func() { return s.membersFrozen(s.majority()) }},
		{"a member of etcd stutters, as with a slow disk", true, (*Scene).stutter},
		{"etcd's leader moves", true, (*Scene).etcdLeaderMoves},
		{"etcd is compacted and defragmented", true, (*Scene).compacted},
		{"etcd is out of space", true, (*Scene).outOfSpace},
	}
}

func (s *Scene) anyNode() *cluster.Node { return s.Nodes[s.random.IntN(len(s.Nodes))] }

// leaderOrAny returns the node that leads, as far as another can tell.
func (s *Scene) leaderOrAny() *cluster.Node {
	chosen := s.anyNode()
	for _, n := range s.Nodes {
		c := n.PatientClient(2 * time.Second)
		l, err := c.Leader(context.Background())
		c.Close()
		if err != nil {
			continue
		}
		for _, other := range s.Nodes {
			if other.Name() == l.Name {
				return other
			}
		}
	}
	return chosen
}

func (s *Scene) killed(n *cluster.Node) func() {
	s.events.say("%s is killed", n.Name())
	s.minds.disturb(n)
	n.Kill()
	return func() {
		s.servesOn(n)
		s.started(n)
	}
}

// started starts a node again, and waits until it serves.
func (s *Scene) started(n *cluster.Node) {
	s.events.say("%s is started", n.Name())
	cluster.Must(s.T, n.Launch())
	cluster.Must(s.T, n.Open())
	cluster.Must(s.T, cluster.Poll(cluster.StartTimeout, n.Name()+" serves again", func() error { return s.serving(n) }))
	s.minds.calm(n, true)
}

func (s *Scene) terminated(n *cluster.Node) func() {
	s.events.say("%s is terminated", n.Name())
	s.minds.disturb(n)
	cluster.Must(s.T, n.Stop())
	return func() { s.started(n) }
}

func (s *Scene) frozen(n *cluster.Node) func() {
	s.events.say("%s is frozen", n.Name())
	s.minds.disturb(n)
	thaw := n.Freeze(s.T)
	return func() {
		s.servesOn(n)
		thaw()
		s.events.say("%s is thawed", n.Name())
		// What was sent to it meanwhile is answered first.
		cluster.Must(s.T, n.Open())
		s.minds.calm(n, false)
	}
}

func (s *Scene) stepsDown() func() {
	n := s.leaderOrAny()
	c := n.PatientClient(patience)
	defer c.Close()
	err := c.StepDown(context.Background(), "")
	s.events.say("%s was told to step down: %v", n.Name(), err)
	return nil
}

func (s *Scene) rollingRestart() func() {
	for _, n := range s.Nodes {
		s.terminated(n)()
	}
	return nil
}

func (s *Scene) link(n *cluster.Node, how string, do func(cluster.Links)) func() {
	s.events.say("the line of %s to etcd is %s", n.Name(), how)
	do(n.Links)
	return func() {
		n.Links.Mend()
		s.events.say("the line of %s to etcd is mended", n.Name())
	}
}

func (s *Scene) split() func() {
	s.events.say("the lines of all nodes to etcd are silent")
	for _, n := range s.Nodes {
		n.Links.Silence()
	}
	return func() {
		for _, n := range s.Nodes {
			n.Links.Mend()
		}
		s.events.say("the lines of all nodes to etcd are mended")
	}
}

func (s *Scene) majority() int { return len(s.Etcd.Members())/2 + 1 }

// some returns members by chance.
func (s *Scene) some(count int) []*etcdtest.Member {
	var some []*etcdtest.Member
	for _, i := range s.random.Perm(len(s.Etcd.Members()))[:count] {
		some = append(some, s.Etcd.Member(i))
	}
	return some
}

func (s *Scene) membersKilled(count int) func() {
	members := s.some(count)
	s.events.say("%d members of etcd are killed", count)
	for _, m := range members {
		m.Kill()
	}
	return func() {
		for _, m := range members {
			m.Restart(s.T)
		}
		s.Etcd.AwaitReady(s.T)
		s.events.say("etcd's members run again")
	}
}

func (s *Scene) membersFrozen(count int) func() {
	members := s.some(count)
	s.events.say("%d members of etcd freeze", count)
	for _, m := range members {
		m.Stop(s.T)
	}
	return func() {
		for _, m := range members {
			m.Cont(s.T)
		}
		s.Etcd.AwaitReady(s.T)
		s.events.say("etcd's members are thawed")
	}
}

// stutter freezes a member again and again for a moment.
func (s *Scene) stutter() func() {
	m := s.some(1)[0]
	s.events.say("a member of etcd stutters")
	for range 8 {
		m.Stop(s.T)
		s.pause(50*time.Millisecond, 400*time.Millisecond)
		m.Cont(s.T)
		s.pause(20*time.Millisecond, 150*time.Millisecond)
	}
	return nil
}

// pause waits for a time by chance: how long a fault lasts.
func (s *Scene) pause(least, most time.Duration) {
	cluster.Until(time.Now().Add(least + time.Duration(s.random.Int64N(int64(most-least)))))
}

func (s *Scene) etcdLeaderMoves() func() {
	for _, m := range s.Etcd.Members() {
		// Only the leader of etcd can be told.
		s.atMember(m, func(ctx context.Context, c *clientv3.Client) error {
			status, err := c.Status(ctx, m.Endpoint())
			if err != nil || status.Leader != status.Header.MemberId {
				return err
			}
			members, err := c.MemberList(ctx)
			if err != nil {
				return err
			}
			for _, other := range members.Members {
				if other.ID != status.Leader {
					_, err := c.MoveLeader(ctx, other.ID)
					s.events.say("etcd's leader was moved: %v", err)
					return nil
				}
			}
			return nil
		})
	}
	return nil
}

// atMember does something with a client of one member. That it fails is no fault of the nodes.
func (s *Scene) atMember(m *etcdtest.Member, do func(context.Context, *clientv3.Client) error) {
	c, err := m.Client()
	cluster.Must(s.T, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := do(ctx, c); err != nil {
		s.events.say("etcd %s: %v", m.Name(), err)
	}
}

func (s *Scene) compacted() func() {
	s.atMember(s.Etcd.Member(0), func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.Get(ctx, "x")
		if err != nil {
			return err
		}
		_, err = c.Compact(ctx, r.Header.Revision, clientv3.WithCompactPhysical())
		s.events.say("etcd was compacted at revision %d: %v", r.Header.Revision, err)
		return err
	})
	for _, m := range s.Etcd.Members() {
		s.atMember(m, func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Defragment(ctx, m.Endpoint())
			s.events.say("etcd %s was defragmented: %v", m.Name(), err)
			return err
		})
	}
	return nil
}

// outOfSpace raises the alarm that etcd raises at its quota: until it is taken back, etcd refuses every write.
func (s *Scene) outOfSpace() func() {
	alarm := func(action etcdserverpb.AlarmRequest_AlarmAction) {
		s.atMember(s.Etcd.Member(0), func(ctx context.Context, c *clientv3.Client) error {
			status, err := c.Status(ctx, s.Etcd.Member(0).Endpoint())
			if err != nil {
				return err
			}
			_, err = etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Alarm(ctx, &etcdserverpb.AlarmRequest{
				Action: action, MemberID: status.Header.MemberId, Alarm: etcdserverpb.AlarmType_NOSPACE,
			})
			s.events.say("the alarm NOSPACE, %s: %v", action, err)
			return err
		})
	}
	alarm(etcdserverpb.AlarmRequest_ACTIVATE)
	return func() { alarm(etcdserverpb.AlarmRequest_DEACTIVATE) }
}
