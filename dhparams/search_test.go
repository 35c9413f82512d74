package dhparams

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"math/big"
	"sync/atomic"
	"testing"
	"time"
)

func TestGenerate_PassesItsOwnCheckAndOpenSSLs(t *testing.T) {
	t.Parallel()
	var reports atomic.Int64
	began := time.Now()
	p, err := Generate(t.Context(), Options{Bits: 1024, Workers: 2, Progress: func(Progress) { reports.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("took %v", time.Since(began))
	if err := p.Check(true); err != nil || p.Bits() != 1024 || p.G.Cmp(big.NewInt(2)) != 0 || reports.Load() == 0 {
		t.Errorf("%v: %v, %d reports", p, err, reports.Load())
	}
	// 2 is a square modulo p, so that its order is q: it does not give the lowest bit of an exponent away.
	if big.Jacobi(big.NewInt(2), p.P) != 1 {
		t.Error("2 generates the whole group")
	}
	openssl(t, p.PEM(), "dhparam", "-check", "-noout")
}

func TestGenerate_SizesThatAreNotMade(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{-1, 0, 512, 1023, MaxBits + 1} {
		if _, err := Generate(t.Context(), Options{Bits: bits}); err == nil {
			t.Errorf("%d bits were made", bits)
		}
	}
}

func TestGenerate_EndsSoonAfterItsContext(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, 300 * time.Millisecond} { // before the sieve, and in it
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		_, err := Generate(ctx, Options{Bits: 8192, Workers: 2, FullPriority: true})
		ended, _ := ctx.Deadline()
		if late := time.Since(ended); !errors.Is(err, context.DeadlineExceeded) || late > 20*time.Second { // milliseconds on a quiet machine; by itself it would last much longer
			t.Errorf("after %v: %v, %v late", wait, err, late)
		} else {
			t.Logf("after %v: %v late", wait, late)
		}
		cancel()
	}
}

// Not only the sieve ends with its context: the tests do.
func TestSearch_TestsEndSoonAfterTheirContext(t *testing.T) {
	t.Parallel()
	s := newSearch(Options{Bits: 8192, Workers: 2, FullPriority: true}.withDefaults())
	s.plan.bound, s.plan.length = 1<<12, 1<<16 // the tests begin at once, and are thousands
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := s.searchWindow(ctx)
		ended <- err
	}()
	for s.tried.Load() == 0 {
		select {
		case err := <-ended:
			t.Fatalf("ended before the first test: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	began := time.Now()
	err := <-ended
	if late := time.Since(began); !errors.Is(err, context.Canceled) || late > 20*time.Second { // as above
		t.Errorf("%v, %v late", err, late)
	}
}

// What passes the search by mistake does not pass the last tests: 2^((n-1)/2) = ±1 for both n, and neither is prime.
func TestVerify_RefusesPseudoprimes(t *testing.T) {
	t.Parallel()
	good := Builtin(2048).P
	for name, c := range map[string]struct {
		p    *big.Int
		want bool
	}{
		"a safe prime":              {good, true},
		"q is a strong pseudoprime": {big.NewInt(2*3215031751 + 1), false},
		"p is composite":            {big.NewInt(2*31 + 1), false},
		"q is composite":            {big.NewInt(2*119 + 1), false},
	} {
		if ok, err := verify(t.Context(), c.p, rand.Reader); ok != c.want || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := verify(ctx, good, rand.Reader); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, %v", ok, err)
	}
	if ok, err := verify(t.Context(), good, noRandom{}); ok || err == nil {
		t.Errorf("without random numbers: %v, %v", ok, err)
	}
}

type noRandom struct{}

func (noRandom) Read([]byte) (int, error) { return 0, errors.New("no random numbers today") }

func TestGenerate_WithoutRandomNumbersIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := Generate(t.Context(), Options{Bits: 1024, Rand: noRandom{}}); err == nil {
		t.Error("parameters without random numbers")
	}
}

// The number of tests that a search takes is distributed as if each had the same chance, and its mean is the one that
// the constant of Hardy and Littlewood gives. All bounds are four standard errors away or more, or nearly so.
func TestGenerate_TakesAsManyTestsAsExpected(t *testing.T) {
	t.Parallel()
	const bits, runs = 256, 150
	width := newPowers(bits).width()
	pl := planFor(bits, width)
	// The last candidates are tested in vain: those beside the q that passes, and beside its p.
	vain := 1.5 * float64(width-1)
	var sum, low float64
	seen := map[string]bool{}
	var top [4]int
	for range runs {
		s := newSearch(Options{Bits: bits, Workers: 1, FullPriority: true}.withDefaults())
		var p *Params
		for p == nil {
			var err error
			if p, err = s.searchWindow(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		n := float64(s.tried.Load()) - vain
		sum += n
		if n < pl.tests*math.Ln2 {
			low++
		}
		q := new(big.Int).Rsh(p.P, 1)
		if !p.P.ProbablyPrime(20) || !q.ProbablyPrime(20) || p.Bits() != bits || new(big.Int).Mod(p.P, big.NewInt(24)).Int64() != 23 {
			t.Fatalf("%v is none", p.P)
		}
		seen[p.P.String()] = true
		top[p.P.Bit(bits-2)<<1|p.P.Bit(bits-3)]++
	}
	if mean := sum / runs / pl.tests; mean < 0.7 || mean > 1.4 {
		t.Errorf("%.2f times the tests expected", mean)
	} else {
		t.Logf("%.2f times the %.0f tests expected", mean, pl.tests)
	}
	if half := low / runs; half < 0.33 || half > 0.67 {
		t.Errorf("%.2f of the searches were below the median", half)
	}
	for i, n := range top {
		if n < 13 || n > 64 {
			t.Errorf("%d of %d primes begin with 1%02b", n, runs, i)
		}
	}
	if len(seen) != runs {
		t.Errorf("only %d different primes in %d", len(seen), runs)
	}
}

func BenchmarkMeasure(b *testing.B) {
	for _, bits := range []int{1024, 2048, 4096} {
		c, err := Measure(b.Context(), Options{Bits: bits, Workers: 1, FullPriority: true}, 64)
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%d bits: bound %d, %.1f tests of %v, sieve %v: %v", bits, planFor(bits, 8).bound, c.Tests, c.PerTest, c.Sieve, c.Expected())
	}
}
