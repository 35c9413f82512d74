package main

import "time"

// etcdSizes says how much is measured of the store on etcd.
type etcdSizes struct {
	// turns is how often the single operations of ours and the reference alternate, in so many rounds; each round has
	// a ratio of its own.
	turns, rounds int
	// writers are the numbers of writers at once, who write for round in each of the rounds.
	writers []int
	round   time.Duration
	// few and many are the numbers of sites in one state; bulks is how often so many are written and read.
	few, many, bulks int
	// certified is how many sites a cluster makes certificates for.
	certified int
}

var (
	fullEtcd  = etcdSizes{turns: 500, rounds: 10, writers: []int{1, 8, 64}, round: time.Second, few: 100, many: 100_000, bulks: 3, certified: 2000}
	quickEtcd = etcdSizes{turns: 100, rounds: 5, writers: []int{1, 8, 64}, round: 500 * time.Millisecond, few: 100, many: 5000, bulks: 3, certified: 300}
)
