package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statiko/test/cluster"
	"statiko/test/etcdtest"
	"statiko/test/history"
)

// etcd's members are upgraded one after the other, from 3.5 to 3.6 and from there to the newest, while clients change and
// restore sites.
func TestChaos_EtcdUpgraded(t *testing.T) {
	Wanted(t)
	seed := Seed(t)
	// A 3.7 that finds entries of 3.5 in its log panics ("unmarshal should never fail"): 3.6 must have taken a snapshot
	// first, which it does each --snapshot-count changes.
	s := NewScene(t, cluster.Start(t, cluster.Options{
		Bin: built(t), Nodes: 2, Links: true,
		Etcd: etcdtest.Options{Members: 3, Program: etcdtest.Older(t, "3.5"), Flags: []string{"--snapshot-count=50"}},
	}), seed, &allScenes)
	s.Round(Usual(), func() {
		for _, program := range []string{etcdtest.Older(t, "3.6"), etcdtest.Binary(t)} {
			for _, i := range s.random.Perm(3) {
				m := s.Etcd.Member(i)
				s.events.say("etcd %s goes on with %s", m.Name(), program)
				m.Replace(t, program)
				s.Etcd.AwaitReady(t)
				s.pause(500*time.Millisecond, time.Second)
			}
		}
	})
	client, err := s.Etcd.Member(0).Client()
	cluster.Must(t, err)
	defer client.Close()
	status, err := client.Status(context.Background(), s.Etcd.Member(0).Endpoint())
	cluster.Must(t, err)
	t.Logf("etcd is %s", status.Version)
	if !strings.HasPrefix(status.Version, "3.7") && !etcdtest.Foreign() {
		t.Errorf("etcd is %s", status.Version)
	}
}

// All three members of etcd are restored from a snapshot under writers: every node serves on what it knew and refuses
// changes, until one command takes what etcd has. Nothing of both states is mixed.
func TestChaos_EtcdRestoredFromASnapshot(t *testing.T) {
	Wanted(t)
	s := newScene(t, Seed(t))
	s.begin()
	client := s.Nodes[0].API(t)
	state := func(what string) (history.Sites, []string) {
		sites, domains := history.Sites{}, []string{Steady, Deployed}
		for i := range 20 {
			domain := fmt.Sprintf("%s-n%d.example.org", what, i)
			sites[domain] = nil
			domains = append(domains, domain)
		}
		slices.Sort(domains)
		return sites, domains
	}
	before, beforeDomains := state("before")
	after, _ := state("after")
	s.Restore(-1, s.Nodes[0], client, before)
	s.HaveExactly(t, 20*time.Second, beforeDomains...)
	file := s.Etcd.Member(0).Snapshot(t)
	s.Restore(-1, s.Nodes[0], client, after)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx, Load{Writers: 4, Pause: 20 * time.Millisecond, Groups: 4, Names: 5}, 1)
	}()
	defer func() { stop(); <-done }()
	s.pause(2*time.Second, 3*time.Second)
	for _, m := range s.Etcd.Members() {
		m.Kill()
	}
	for _, m := range s.Etcd.Members() {
		m.RestoreSnapshot(t, file)
		m.Restart(t)
	}
	s.Etcd.AwaitReady(t)
	for _, n := range s.Nodes {
		c := n.API(t)
		cluster.Must(t, cluster.Poll(20*time.Second, n.Name()+" is detached", func() error {
			status, err := c.Status(context.Background(), "", false)
			if err == nil && (status.Store.Healthy || !strings.Contains(status.Store.Reason, "accept")) {
				err = fmt.Errorf("its store: %+v", status.Store)
			}
			return err
		}))
	}
	detached := s.calls.Now()
	refusals := 0
	cluster.Must(t, cluster.Poll(20*time.Second, "changes are refused", func() error {
		refusals = 0
		for _, c := range s.calls.Calls() {
			if c.Begin < detached || c.Op == history.Restore {
				continue
			}
			if refusals++; c.Result != history.Refused {
				return cluster.NoUse(fmt.Errorf("%s %s through %s: %s %s", c.Op, c.Domain, c.Node, c.Result, c.Error))
			}
		}
		if refusals < 20 {
			return fmt.Errorf("%d are", refusals)
		}
		return nil
	}))
	stop()
	<-done
	for _, n := range s.Nodes {
		got, err := n.Sites()
		cluster.Must(t, err)
		if !slices.Contains(got, "after-n0.example.org") || slices.Contains(got, "before-n0.example.org") {
			t.Errorf("%s, detached, has %.200q", n.Name(), got)
		}
	}
	s.events.report(t)
	s.Nodes[1].Stkcli(t, "store", "accept", "--yes")
	s.HaveExactly(t, 20*time.Second, beforeDomains...)
	s.converged()
	s.served(before)
	t.Logf("%s; %d changes refused while detached", s.calls.Summary(), refusals)
}
