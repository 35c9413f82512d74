package cluster

import (
	"testing"
	"time"

	"statiko/test/etcdtest"
	"statiko/test/programs"
)

// Links are a node's lines to the members of etcd.
type Links []*programs.Proxy

func newLinks(t testing.TB, etcd *etcdtest.Cluster) (links Links, endpoints []string) {
	t.Helper()
	for _, m := range etcd.Members() {
		p := m.Proxy(t)
		links, endpoints = append(links, p), append(endpoints, p.Endpoint())
	}
	return links, endpoints
}

// Cut closes all connections of the node with etcd, and new ones at once, until Mend.
func (l Links) Cut() { l.each((*programs.Proxy).Cut) }

// Reset is Cut with a reset of each connection.
func (l Links) Reset() { l.each((*programs.Proxy).Reset) }

// Silence lets nothing through until Mend, and closes nothing.
func (l Links) Silence() { l.each((*programs.Proxy).Silence) }

// Drop closes the connections that there are now.
func (l Links) Drop() { l.each((*programs.Proxy).Drop) }

// Mend ends what the others began.
func (l Links) Mend() { l.each((*programs.Proxy).Mend) }

// Slow makes each way take so long, and lets so many bytes a second through each connection (any number if 0).
func (l Links) Slow(delay time.Duration, rate int) {
	l.each(func(p *programs.Proxy) { p.Slow(delay, rate) })
}

func (l Links) each(do func(*programs.Proxy)) {
	for _, p := range l {
		do(p)
	}
}
