package chaos

import (
	"math/rand/v2"
	"strings"

	"statiko/test/cluster"
	"statiko/test/history"
)

// DiskFaults returns the faults of nodes' disks; each node of the scene must have one of its own.
func DiskFaults() []Fault {
	return []Fault{
		{"a node's disk is full", false, func(s *Scene) func() { return s.diskFull(s.anyNode()) }},
		{"a node's disk is full and the node is restarted", false, func(s *Scene) func() {
			n := s.anyNode()
			mend := s.diskFull(n)
			s.killed(n)()
			return mend
		}},
	}
}

// diskFull fills the node's disk: it serves on and takes changes that need no disk, and refuses a bundle with the reason.
func (s *Scene) diskFull(n *cluster.Node) func() {
	s.minds.fill(n, true)
	cluster.Must(s.T, cluster.FillDisk(n.Disk))
	s.events.say("the disk of %s is full", n.Name())
	s.full++
	s.refusesLarge(n)
	return func() {
		cluster.Must(s.T, cluster.FreeDisk(n.Disk))
		s.minds.fill(n, false)
		s.events.say("the disk of %s has space again", n.Name())
	}
}

// refusesLarge notes a fault if the node takes a bundle for which there is no space.
func (s *Scene) refusesLarge(n *cluster.Node) {
	c := n.PatientClient(patience)
	defer c.Close()
	random := rand.New(rand.NewPCG(uint64(s.round), uint64(s.full)))
	if call := s.upload(-1, n, c, s.Prefix()+"-large-"+string(rune('a'+s.full%26)), 16<<16, random); call.Result != history.Refused {
		s.events.fault("%s, whose disk is full, takes a large bundle: %s %s", n.Name(), call.Result, call.Error)
	}
}

// saysFull tells whether a call was refused because the node's disk is full.
func saysFull(call history.Call) bool {
	return call.Result == history.Refused && strings.Contains(call.Error, "the node's disk is full")
}
