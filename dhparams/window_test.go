package dhparams

import (
	"context"
	"crypto/rand"
	"math/big"
	"testing"
	"time"
)

func TestPrimes_AreThePrimes(t *testing.T) {
	t.Parallel()
	table := newPrimeTable()
	var c chunk
	var all []uint32
	for n := range uint64(3) {
		c.sieve(table, n)
		all = c.primes(all, 17, 2_500_000)
	}
	// π(2,500,000) is 183,072; 2, 3, 5, 7, 11 and 13 are not among them.
	if len(all) != 183_072-6 || all[0] != 17 || all[len(all)-1] != 2_499_997 {
		t.Errorf("%d primes, %d … %d", len(all), all[0], all[len(all)-1])
	}
	c.sieve(table, 4095) // up to 2^32
	for _, r := range c.primes(nil, 4294967296-3000, 1<<32) {
		if !big.NewInt(int64(r)).ProbablyPrime(0) {
			t.Errorf("%d is no prime", r)
		}
	}
	if top := c.primes(nil, 0, 1<<32); top[len(top)-1] != 4294967291 {
		t.Errorf("the last prime is %d", top[len(top)-1])
	}
}

func TestResidues_AgreeWithBig(t *testing.T) {
	t.Parallel()
	var c chunk
	table := newPrimeTable()
	for _, bits := range []int{65, 128, 1000, 1024, 3072, 4091} {
		for _, number := range []uint64{0, 77, 2047, 4095} {
			a := randomOdd(t, bits)
			c.sieve(table, number)
			primes := c.primes(nil, 17, 1<<32)[:1003]
			got := make([]uint32, len(primes))
			newResidues(a).of(primes, got)
			for i, r := range primes {
				if want := new(big.Int).Mod(a, big.NewInt(int64(r))).Uint64(); uint64(got[i]) != want {
					t.Fatalf("%d bits mod %d: %d, want %d", bits, r, got[i], want)
				}
			}
		}
	}
}

func TestWindow_StrikesOutWhatHasASmallFactor(t *testing.T) {
	t.Parallel()
	const bound = 1 << 19
	w, err := newWindow(256, 1<<10, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sieve(context.Background(), bound, 2, func(f func()) { f() }); err != nil {
		t.Fatal(err)
	}
	product := big.NewInt(5 * 7 * 11 * 13)
	var c chunk
	table := newPrimeTable()
	for n := range uint64(1) {
		c.sieve(table, n)
		for _, r := range c.primes(nil, 17, bound) {
			product.Mul(product, big.NewInt(int64(r)))
		}
	}
	left, one := 0, big.NewInt(1)
	for i := range w.length {
		q := w.q(i)
		p := new(big.Int).Add(new(big.Int).Lsh(q, 1), one)
		if m := new(big.Int).Mod(p, big.NewInt(24)).Int64(); m != 23 || p.BitLen() != 256 {
			t.Fatalf("candidate %d is %d modulo 24, of %d bits", i, m, p.BitLen())
		}
		rough := new(big.Int).GCD(nil, nil, new(big.Int).Mul(p, q), product).Cmp(one) == 0
		if out := w.out[i/64]>>(i%64)&1 == 1; out == rough {
			t.Errorf("candidate %d: out %v, without small factors %v", i, out, rough)
		}
		if rough {
			left++
		}
	}
	taken := 0
	for i, ok := w.next(); ok; i, ok = w.next() {
		if w.out[i/64]>>(i%64)&1 == 1 {
			t.Errorf("candidate %d was struck out", i)
		}
		taken++
	}
	if taken != left {
		t.Errorf("%d candidates taken, %d are left", taken, left)
	}
}

func BenchmarkSieve(b *testing.B) {
	for _, c := range []struct {
		bits, length int
		bound        uint64
	}{{1024, 1 << 18, 1 << 21}, {1024, 1 << 18, 1 << 23}, {2048, 1 << 20, 1 << 26}, {4096, 1 << 22, 1 << 26}} {
		w, err := newWindow(c.bits, c.length, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for range b.N {
			if err := w.sieve(context.Background(), c.bound, 1, func(f func()) { f() }); err != nil {
				b.Fatal(err)
			}
		}
		b.Logf("%d bits to %d: %v", c.bits, c.bound, time.Since(began)/time.Duration(b.N))
	}
}
