package dhparams

import "math/bits"

// Primes below 2^32 come in chunks of a segmented sieve of Eratosthenes over the odd numbers, which fits the cache.
const (
	chunkNumbers = 1 << 20
	chunkWords   = chunkNumbers / 2 / 64
	// patternPrimes are sieved by copying: their multiples repeat after so many odd numbers, and so many words.
	patternWords = 3 * 5 * 7 * 11 * 13
	// firstPrimes is up to where primes are needed to sieve below 2^32.
	firstPrimes = 1 << 16
)

// primeTable is what sieving for primes needs; it is not changed once made, and makes itself in under a millisecond.
type primeTable struct {
	// first has the primes from 17 to firstPrimes.
	first []uint32
	// pattern has a bit for each odd number that is a multiple of 3, 5, 7, 11 or 13.
	pattern [patternWords]uint64
}

func newPrimeTable() *primeTable {
	t := &primeTable{}
	for _, r := range []int{3, 5, 7, 11, 13} {
		for i := r / 2; i < 64*patternWords; i += r {
			t.pattern[i/64] |= 1 << (i % 64)
		}
	}
	composite := make([]bool, firstPrimes/2)
	for i := 1; i < len(composite); i++ {
		if composite[i] {
			continue
		}
		r := 2*i + 1
		if r > 13 {
			t.first = append(t.first, uint32(r))
		}
		for k := r * r / 2; k < len(composite); k += r {
			composite[k] = true
		}
	}
	return t
}

// chunk has a bit for each odd number that is not prime: of the number base+2i+1 it is bit i.
type chunk struct {
	base uint64
	bits [chunkWords]uint64
}

// sieve fills the chunk with the given number: it begins at number times chunkNumbers.
func (c *chunk) sieve(t *primeTable, number uint64) {
	c.base = number * chunkNumbers
	for i, at := 0, int(c.base/128%patternWords); i < chunkWords; at = 0 {
		i += copy(c.bits[i:], t.pattern[at:])
	}
	last := c.base + chunkNumbers - 1
	for _, r32 := range t.first {
		r := uint64(r32)
		square := r * r
		if square > last {
			break
		}
		var i uint64
		if square >= c.base {
			i = (square - c.base) / 2
		} else {
			// The first odd multiple: base + d = r (odd).
			d := (r - c.base%r) % r
			if d%2 == 0 {
				d += r
			}
			i = d / 2
		}
		for ; i < chunkNumbers/2; i += r {
			c.bits[i/64] |= 1 << (i % 64)
		}
	}
}

// primes appends the primes of the chunk that are at least from and less than to. Primes below 17 are missing.
func (c *chunk) primes(into []uint32, from, to uint64) []uint32 {
	for w, word := range c.bits {
		base := c.base + uint64(w)*128
		if base+128 <= from || base >= to {
			continue
		}
		for rest := ^word; rest != 0; rest &= rest - 1 {
			if r := base + 2*uint64(bits.TrailingZeros64(rest)) + 1; r >= from && r < to && r > 1 {
				into = append(into, uint32(r))
			}
		}
	}
	return into
}
