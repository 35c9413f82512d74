package main

import "time"

// sizes says how much is measured.
type sizes struct {
	// writers add writtenSites sites together.
	writers, writtenSites int
	// few and many are the numbers of sites that a node is started with; commit costs are also looked at with
	// between.
	few, between, many int
	// adds is how many sites are added one by one, changes how many changes of each kind are timed.
	adds, changes int
	// settle is how long a node is left alone before its memory is read again.
	settle time.Duration
	// rounds and round are how often and how long each server or tool has its turn.
	rounds int
	round  time.Duration
	// connections is how many the load has open.
	connections int
	etcd        etcdSizes
}

var (
	fullSizes = sizes{
		writers: 8, writtenSites: 1000, few: 100, between: 1000, many: 10_000, adds: 50, changes: 300,
		settle: 10 * time.Second, rounds: 5, round: 5 * time.Second, connections: 32, etcd: fullEtcd,
	}
	quickSizes = sizes{
		writers: 8, writtenSites: 200, few: 100, between: 500, many: 2000, adds: 20, changes: 100,
		settle: 3 * time.Second, rounds: 3, round: time.Second, connections: 32, etcd: quickEtcd,
	}
)

// Bounds of waiting. They only end a run in which something is broken.
const (
	startTimeout = time.Minute
	stopTimeout  = 30 * time.Second
	// serveTimeout bounds how long sites may take to be served.
	serveTimeout = 5 * time.Minute
	// probeTimeout bounds one connection with one request.
	probeTimeout = 10 * time.Second
)
