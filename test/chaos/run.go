package chaos

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"statiko/test/cluster"
	"statiko/test/history"
)

// Wanted skips a test that takes minutes unless STATIKO_CHAOS=1.
func Wanted(t testing.TB) {
	t.Helper()
	if os.Getenv("STATIKO_CHAOS") != "1" {
		t.Skip("it takes minutes: STATIKO_CHAOS=1 runs it")
	}
}

// Seed returns CHAOS_SEED or, without it, one by chance, and prints it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(rand.Uint32())
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	t.Logf("CHAOS_SEED=%d", seed)
	return seed
}

// Time returns CHAOS_TIME, or usual without it.
func Time(t testing.TB, usual time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("CHAOS_TIME")
	if text == "" {
		return usual
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("CHAOS_TIME: %v", err)
	}
	return d
}

// Usual is the load of a random run: about a hundred calls a second, and a restore each few.
func Usual() Load {
	return Load{Writers: 10, Pause: 30 * time.Millisecond, Operators: 2, Rest: 4 * time.Second, Groups: 16, Names: 5}
}

// Round lets clients work while the faults come, and judges.
func (s *Scene) Round(load Load, faults func()) {
	s.T.Helper()
	s.begin()
	began := time.Now()
	first := s.Nodes[0].API(s.T)
	c := s.Restore(-1, s.Nodes[0], first, history.Sites{})
	if c.Result != history.OK {
		s.T.Fatalf("the round cannot begin: %s %s", c.Result, c.Error)
	}
	s.since = c.Revision
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	seed := s.random.Uint64()
	work.Go(func() { s.run(ctx, load, seed) })
	// A fault that cannot be made ends the test, and must not leave the clients behind.
	defer work.Wait()
	defer stop()
	faults()
	// What is mended is used for a moment.
	s.pause(500*time.Millisecond, time.Second)
	stop()
	work.Wait()
	s.Judge()
	s.T.Logf("round %d, %s: %s; %d different views; %d visits; bundles: %s", s.round, time.Since(began).Round(time.Second),
		s.calls.Summary(), s.views.Len(), s.visits.Load(), s.bundles.calls.Summary())
}

// Random runs rounds until the time is over and each fault was there: all come before one comes again.
func (s *Scene) Random(load Load, faults []Fault, least time.Duration) {
	s.T.Helper()
	end := time.Now().Add(least)
	counts := map[string]int{}
	var nodes, etcd []Fault
	for time.Now().Before(end) || len(counts) < len(faults) {
		s.Round(load, func() {
			for range 3 {
				both := []Fault{s.next(&nodes, faults, false)}
				if len(counts) < len(faults) || s.random.IntN(2) == 0 {
					both = append(both, s.next(&etcd, faults, true))
				}
				s.Apply(both...)
				for _, f := range both {
					counts[f.Name]++
				}
			}
		})
	}
	for _, f := range faults {
		s.T.Logf("%3d times: %s", counts[f.Name], f.Name)
	}
	s.total()
	s.totals.mustShow(s.T, load, s.full > 0)
}

// next draws a fault of a sort from those left, which are all again when none is.
func (s *Scene) next(left *[]Fault, all []Fault, etcd bool) Fault {
	if len(*left) == 0 {
		for _, i := range s.random.Perm(len(all)) {
			if all[i].Etcd == etcd {
				*left = append(*left, all[i])
			}
		}
	}
	f := (*left)[0]
	*left = (*left)[1:]
	return f
}

// Apply begins faults, lets them last for a while, and mends them in an order by chance.
func (s *Scene) Apply(faults ...Fault) {
	var mend []func()
	for _, f := range faults {
		s.events.say("— %s", f.Name)
		if m := f.Begin(s); m != nil {
			mend = append(mend, m)
		}
		s.pause(100*time.Millisecond, time.Second)
	}
	longest := 3 * time.Second
	if s.random.IntN(4) == 0 {
		// Longer than leases and keepalives live.
		longest = 3 * cluster.LeaseTTL
	}
	s.pause(500*time.Millisecond, longest)
	s.random.Shuffle(len(mend), func(i, j int) { mend[i], mend[j] = mend[j], mend[i] })
	for _, m := range mend {
		m()
	}
	s.pause(200*time.Millisecond, 1500*time.Millisecond)
}
