package dhparams

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"math/big"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to search for, and how.
type Options struct {
	// Bits is the size of the prime, 1024 to [MaxBits].
	Bits int
	// Workers is how many goroutines search, each on a thread of its own; 0 means one for each processor that Go
	// uses.
	Workers int
	// Progress, if not nil, is called every now and then from one goroutine, and not after Generate has returned.
	Progress func(Progress)
	// Rand is where the search begins and what the last tests take their bases from; nil means crypto/rand. It must
	// be safe for concurrent use.
	Rand io.Reader
	// FullPriority leaves the priority of the threads as it is.
	FullPriority bool
}

// Progress is how far a search has come. A search has no memory: at every moment, Expected more candidates are to be
// tried on average.
type Progress struct {
	// Tried is the number of candidates that were tested, beyond sieving.
	Tried int64
	// Expected is how many must be tested on average.
	Expected float64
	// Elapsed is the time since the search began.
	Elapsed time.Duration
}

// Chance returns the probability that a search ends with so many candidates or less, 0 to 1.
func (p Progress) Chance() float64 {
	if p.Expected <= 0 {
		return 0
	}
	return 1 - math.Exp(-float64(p.Tried)/p.Expected)
}

// progressEvery is the pause between two calls of Options.Progress.
const progressEvery = 250 * time.Millisecond

// Generate searches for parameters: a random safe prime p of the given size with p mod 24 = 23, and the generator 2,
// whose order is (p-1)/2. They pass [Params.Check]. It returns ctx's error within about 100 ms of the end of ctx, if its
// threads get a processor: on a machine that is busy with other things those of low priority may wait for longer. See
// the package's documentation for how it searches.
func Generate(ctx context.Context, o Options) (*Params, error) {
	if o.Bits < MinWeakBits || o.Bits > MaxBits {
		return nil, fmt.Errorf("primes of %d bits are not made: %d to %d are possible", o.Bits, MinWeakBits, MaxBits)
	}
	return generate(ctx, o)
}

// search is one call of Generate.
type search struct {
	Options
	plan  plan
	tried atomic.Int64
	// found has space for one of each worker.
	found chan *Params
}

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return o
}

func newSearch(o Options) *search {
	return &search{Options: o, plan: planFor(o.Bits, newPowers(o.Bits).width()), found: make(chan *Params, o.Workers)}
}

// minBits keeps all factors that are sieved with below q.
const minBits = 34

// generate is Generate for primes of at least minBits.
func generate(ctx context.Context, o Options) (*Params, error) {
	if o.Bits < minBits {
		return nil, fmt.Errorf("primes of %d bits are not made", o.Bits)
	}
	o = o.withDefaults()
	s := newSearch(o)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if o.Progress != nil {
		var reporting sync.WaitGroup
		defer reporting.Wait()
		defer stop()
		began := time.Now()
		reporting.Go(func() { s.report(ctx, began) })
	}
	for {
		p, err := s.searchWindow(ctx)
		if p != nil || err != nil {
			return p, err
		}
	}
}

func (s *search) report(ctx context.Context, began time.Time) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for {
		s.Progress(Progress{s.tried.Load(), s.plan.tests, time.Since(began)})
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// searchWindow searches all candidates of one window; nil and no error if there is none.
func (s *search) searchWindow(ctx context.Context) (*Params, error) {
	w, err := newWindow(s.Bits, s.plan.length, s.Rand)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := w.sieve(ctx, s.plan.bound, s.Workers, s.low); err != nil {
		return nil, err
	}
	errs := make(chan error, s.Workers)
	inParallel(s.Workers, s.low, func() {
		p, err := s.test(ctx, w)
		if p != nil {
			s.found <- p
			stop()
		}
		errs <- err
	})
	close(errs)
	select {
	case p := <-s.found:
		return p, nil
	default:
	}
	for err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// low runs f on a thread of low priority.
func (s *search) low(f func()) {
	if s.FullPriority {
		f()
		return
	}
	atLowPriority(f)
}

// test tests candidates of the window until one passes, none is left, or ctx ends.
func (s *search) test(ctx context.Context, w *window) (*Params, error) {
	powers := newPowers(s.Bits)
	questions := make([]power, 0, powers.width())
	// Numbers p whose q passed, and the numbers q that are asked about.
	var pending, asked []*big.Int
	for {
		questions, asked = questions[:0], asked[:0]
		// First those that are nearly through.
		for _, q := range pending[:min(len(pending), powers.width())] {
			p := new(big.Int).Lsh(q, 1)
			questions, asked = append(questions, power{p.SetBit(p, 0, 1), q}), append(asked, q)
		}
		last := len(questions)
		pending = append(pending[:0], pending[last:]...)
		questions, asked = w.ask(questions, asked, powers.width())
		if len(questions) == 0 {
			return nil, nil
		}
		yes, err := powers.areOne(ctx, questions)
		if err != nil {
			return nil, err
		}
		s.tried.Add(int64(len(questions) - last))
		for i, q := range asked {
			switch {
			case yes>>i&1 == 0:
			case i >= last:
				pending = append(pending, q)
			default:
				p := questions[i].n
				if ok, err := verify(ctx, p, s.Rand); err != nil {
					return nil, err
				} else if ok {
					return &Params{P: p, G: big.NewInt(2)}, nil
				}
			}
		}
	}
}

// ask adds questions about candidates that are left, up to width, and the numbers q that they are about.
func (w *window) ask(questions []power, asked []*big.Int, width int) ([]power, []*big.Int) {
	for len(questions) < width {
		i, ok := w.next()
		if !ok {
			break
		}
		q := w.q(i)
		questions, asked = append(questions, power{q, new(big.Int).Rsh(q, 1)}), append(asked, q)
	}
	return questions, asked
}

// finalRounds is the number of Miller-Rabin rounds with random bases that q must pass, beside the Baillie-PSW test
// and the strong test with base 2 of the search. FIPS 186-5, table B.1, asks for 5 rounds at most where random numbers
// of 1024 bits and more are tested, for an error of less than 2^-112.
const finalRounds = 8

// verify tests by math/big, which shares nothing with the search, whether p = 3 modulo 4 is a safe prime. The bases are
// random, unlike those of [big.Int.ProbablyPrime], which follow from the number.
func verify(ctx context.Context, p *big.Int, random io.Reader) (bool, error) {
	q := new(big.Int).Rsh(p, 1)
	if !q.ProbablyPrime(0) {
		return false, nil
	}
	one, half := big.NewInt(1), new(big.Int).Rsh(q, 1)
	for range finalRounds {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		base, err := rand.Int(random, new(big.Int).Sub(q, big.NewInt(3)))
		if err != nil {
			return false, fmt.Errorf("read random numbers: %w", err)
		}
		base.Add(base, big.NewInt(2)) // 2 … q-2
		// q-1 is 2 times an odd number.
		if !isOne(base.Exp(base, half, q), one, q) {
			return false, nil
		}
	}
	return primeAbove(p), ctx.Err()
}
