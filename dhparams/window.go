package dhparams

import (
	"context"
	"fmt"
	"io"
	"math/big"
	"math/bits"
	"sync"
	"sync/atomic"

	crand "crypto/rand"
)

// smallBound is up to which primes the window is sieved in segments; there are 22,998 of them.
const smallBound = 1 << 18

// segmentWords is the size of a segment in words: half of a usual first cache.
const segmentWords = 2048

// window is a row of candidates, p(i) = 24 (a+i) + 23, and what has been learned of them.
type window struct {
	a *big.Int
	// length is the number of candidates, a multiple of 64.
	length int
	// out has a bit for each candidate that has a small factor, in p or in q.
	out []uint64

	mu sync.Mutex
	// at is the first word that nobody has taken candidates from, rest what is left of the one before.
	at   int
	rest uint64
}

// newWindow returns a window at a random place of the numbers with so many bits, all of which lie in it.
func newWindow(bits, length int, random io.Reader) (*window, error) {
	low := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	high := new(big.Int).Lsh(low, 1)
	// 24 a + 23 >= low, and 24 (a + length - 1) + 23 < high.
	low.Div(low, big.NewInt(24))
	high.Sub(high.Div(high, big.NewInt(24)), big.NewInt(int64(length)))
	places := high.Sub(high, low)
	if places.Sign() <= 0 {
		return nil, fmt.Errorf("there are not %d candidates of %d bits", length, bits)
	}
	a, err := crand.Int(random, places)
	if err != nil {
		return nil, fmt.Errorf("read random numbers: %w", err)
	}
	return &window{a: a.Add(a, low), length: length, out: make([]uint64, length/64)}, nil
}

// q returns the candidate's q = 12 (a+i) + 11; its p is 2q + 1.
func (w *window) q(i int) *big.Int {
	q := new(big.Int).Add(w.a, big.NewInt(int64(i)))
	q.Mul(q, big.NewInt(12))
	return q.Add(q, big.NewInt(11))
}

// next takes one candidate that is left; false if there is none.
func (w *window) next() (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.rest == 0 {
		if w.at == len(w.out) {
			return 0, false
		}
		w.rest = ^w.out[w.at]
		w.at++
	}
	bit := bits.TrailingZeros64(w.rest)
	w.rest &= w.rest - 1
	return 64*(w.at-1) + bit, true
}

// multiples returns the first i for which r divides q(i), and the first for which it divides p(i), both in 0 … r-1,
// for a prime r > 3 and a mod r.
//
// Modulo r, 12 (a+i) + 11 = 0 is i = 1/12 - 1 - a, and 24 (a+i) + 23 = 0 is i = 1/24 - 1 - a. As r² = 1 modulo 24,
// (24 - r mod 24) r + 1 is a multiple of 24: its quotient is 1/24.
func multiples(r, a uint64) (q, p uint64) {
	p = ((24-r%24)*r + 1) / 24
	q = 2 * p
	if q >= r {
		q -= r
	}
	less := r - 1 - a // -1 - a, in 0 … r-1
	if p += less; p >= r {
		p -= r
	}
	if q += less; q >= r {
		q -= r
	}
	return q, p
}

// sieve strikes out all candidates with a factor below bound in p or q. It shares the work among goroutines that do
// tells to run; the parts end soon after ctx has.
func (w *window) sieve(ctx context.Context, bound uint64, workers int, do func(func())) error {
	table, numbers := newPrimeTable(), newResidues(w.a)
	small, starts := w.smallPrimes(table, numbers, min(bound, smallBound))
	// First every segment by one goroutine, then all of them everywhere.
	var segments, chunks atomic.Int64
	inParallel(workers, do, func() {
		for ctx.Err() == nil {
			s := int(segments.Add(1)-1) * segmentWords
			if s >= len(w.out) {
				return
			}
			w.sieveSegment(s, min(s+segmentWords, len(w.out)), small, starts)
		}
	})
	if bound <= smallBound {
		return ctx.Err()
	}
	last := int64((bound - 1) / chunkNumbers)
	inParallel(workers, do, func() {
		var c chunk
		var primes, rest []uint32
		for ctx.Err() == nil {
			number := chunks.Add(1) - 1
			if number > last {
				return
			}
			c.sieve(table, uint64(number))
			primes = c.primes(primes[:0], smallBound, bound)
			rest = append(rest[:0], primes...)
			numbers.of(primes, rest)
			w.strike(primes, rest)
		}
	})
	return ctx.Err()
}

// inParallel has f run in so many goroutines, each by do, and waits for all of them.
func inParallel(workers int, do func(func()), f func()) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { do(f) })
	}
	wg.Wait()
}

// smallPrimes returns the primes from 5 to the bound, and for each the two places where it begins to divide.
func (w *window) smallPrimes(table *primeTable, numbers *residues, bound uint64) (primes []uint32, starts [][2]uint32) {
	primes = []uint32{5, 7, 11, 13}
	var c chunk
	c.sieve(table, 0)
	primes = c.primes(primes, 17, bound)
	rest := make([]uint32, len(primes))
	numbers.of(primes, rest)
	starts = make([][2]uint32, len(primes))
	for i, r := range primes {
		q, p := multiples(uint64(r), uint64(rest[i]))
		starts[i] = [2]uint32{uint32(q), uint32(p)}
	}
	return primes, starts
}

// sieveSegment strikes out the multiples of small primes among the words from, … to-1.
func (w *window) sieveSegment(from, to int, primes []uint32, starts [][2]uint32) {
	words := w.out[from:to]
	first, n := uint64(from)*64, uint64(to-from)*64
	for k, r32 := range primes {
		r := uint64(r32)
		for _, start := range starts[k] {
			i := uint64(start)
			if i < first {
				i += (first - i + r - 1) / r * r
			}
			for i -= first; i < n; i += r {
				words[i/64] |= 1 << (i % 64)
			}
		}
	}
}

// strike strikes out the multiples of large primes, while others do so as well.
func (w *window) strike(primes, rest []uint32) {
	n := uint64(w.length)
	for k, r32 := range primes {
		r := uint64(r32)
		q, p := multiples(r, uint64(rest[k]))
		for ; q < n; q += r {
			atomic.OrUint64(&w.out[q/64], 1<<(q%64))
		}
		for ; p < n; p += r {
			atomic.OrUint64(&w.out[p/64], 1<<(p%64))
		}
	}
}
