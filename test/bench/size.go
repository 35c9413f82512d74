package main

import "time"

// sizes says how much is measured.
type sizes struct {
	// writers add writtenSites sites together.
	writers, writtenSites int
	// counts are the numbers of sites, ascending, between which costs are compared on the file store; engines are those
	// that each web server is given.
	counts, engines []int
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
	bundles     bundleSizes
	dh          dhSizes
	// object is the size of the archive in an object store, in bytes.
	object int64
}

// etcdSizes says how much is measured of the store on etcd.
type etcdSizes struct {
	// turns is how often the single operations of ours and the reference alternate, in so many rounds; each round has
	// a ratio of its own.
	turns, rounds int
	// writers are the numbers of writers at once, who write for round in each of the rounds.
	writers []int
	round   time.Duration
	// counts are the numbers of sites in one state, ascending; bulks is how often so many are written and read.
	counts []int
	bulks  int
	// certified is how many sites a cluster makes certificates for.
	certified int
}

// bundleSizes says how much of bundles is measured.
type bundleSizes struct {
	// large is the size of one large bundle in bytes, of noise that nothing compresses; uploads is how many there are.
	large, uploads int
	// deploys is how many times a site is switched.
	deploys int
}

// dhSizes says how much is measured of the search for Diffie-Hellman parameters.
type dhSizes struct {
	// bits are the sizes of primes whose rates are measured, tests how many candidates of ours are tested each time.
	bits  []int
	tests map[int]int
	// runs is how many whole searches are made at 1024 bits.
	runs int
}

var fullSizes = sizes{
	writers: 8, writtenSites: 1000, counts: []int{100, 1000, 10_000, 100_000}, engines: []int{100, 1000, 10_000}, adds: 50, changes: 300,
	settle: 10 * time.Second, rounds: 5, round: 5 * time.Second, connections: 32,
	etcd: etcdSizes{
		turns: 500, rounds: 10, writers: []int{1, 8, 64}, round: time.Second, counts: []int{100, 1000, 10_000, 100_000}, bulks: 3, certified: 2000,
	},
	bundles: bundleSizes{large: 64 << 20, uploads: 7, deploys: 200},
	dh:      dhSizes{bits: []int{1024, 2048, 4096}, tests: map[int]int{1024: 4000, 2048: 4000, 4096: 800}, runs: 30},
	object:  256 << 20,
}

var quickSizes = sizes{
	writers: 8, writtenSites: 200, counts: []int{100, 500, 2000}, engines: []int{100, 500, 2000}, adds: 20, changes: 100,
	settle: 3 * time.Second, rounds: 3, round: time.Second, connections: 32,
	etcd: etcdSizes{
		turns: 100, rounds: 5, writers: []int{1, 8, 64}, round: 500 * time.Millisecond, counts: []int{100, 1000, 5000}, bulks: 3, certified: 300,
	},
	bundles: bundleSizes{large: 8 << 20, uploads: 3, deploys: 40},
	dh:      dhSizes{bits: []int{1024, 2048}, tests: map[int]int{1024: 800, 2048: 800}, runs: 5},
	object:  48 << 20,
}

// Bounds of waiting. They only end a run in which something is broken.
const (
	startTimeout = time.Minute
	// serveTimeout bounds how long sites may take to be served.
	serveTimeout = 10 * time.Minute
	// probeTimeout bounds one connection with one request.
	probeTimeout = 10 * time.Second
)
