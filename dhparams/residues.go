package dhparams

import (
	"math/big"
	"math/bits"
)

// residues computes remainders of one large number by many primes below 2^32.
//
// Two primes are one modulus m of 64 bits. Montgomery's reduction takes the words from the lowest on: with x the sum of
// what is left and a word, adding the multiple of m that makes the lowest word 0 costs two multiplications and no
// division. What comes out has the factor 2^(-64 n) for n words; 2^(64 n) mod m takes a few squarings.
type residues struct {
	words []uint64
	// top is the length of len(words) in bits.
	top int
}

func newResidues(a *big.Int) *residues {
	r := &residues{}
	if bits.UintSize == 64 {
		for _, w := range a.Bits() {
			r.words = append(r.words, uint64(w))
		}
	} else {
		for i, w := range a.Bits() {
			if i%2 == 0 {
				r.words = append(r.words, uint64(w))
			} else {
				r.words[i/2] |= uint64(w) << 32
			}
		}
	}
	r.top = bits.Len(uint(len(r.words)))
	return r
}

// reduce returns (x + carry 2^64 + m y) / 2^64 for the y that makes it whole: at most m + carry.
func reduce(x, carry, m, k uint64) uint64 {
	hi, lo := bits.Mul64(x*k, m)
	_, c := bits.Add64(x, lo, 0)
	return hi + carry + c
}

// montgomery returns x y / 2^64 mod m, in 0 … m.
func montgomery(x, y, m, k uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	f, g := bits.Mul64(lo*k, m)
	_, c := bits.Add64(lo, g, 0)
	sum, over := bits.Add64(hi, f, c)
	if over != 0 || sum >= m {
		sum -= m
	}
	return sum
}

// of sets into[i] to the number modulo primes[i], which are odd and below 2^32.
func (r *residues) of(primes []uint32, into []uint32) {
	n := len(primes)
	i := 0
	for ; i+8 <= n; i += 8 {
		p := primes[i : i+8 : i+8]
		m0, m1 := uint64(p[0])*uint64(p[1]), uint64(p[2])*uint64(p[3])
		m2, m3 := uint64(p[4])*uint64(p[5]), uint64(p[6])*uint64(p[7])
		k0, k1, k2, k3 := negInverse(m0), negInverse(m1), negInverse(m2), negInverse(m3)
		var x0, x1, x2, x3 uint64
		for _, w := range r.words {
			s0, c0 := bits.Add64(x0, w, 0)
			x0 = reduce(s0, c0, m0, k0)
			s1, c1 := bits.Add64(x1, w, 0)
			x1 = reduce(s1, c1, m1, k1)
			s2, c2 := bits.Add64(x2, w, 0)
			x2 = reduce(s2, c2, m2, k2)
			s3, c3 := bits.Add64(x3, w, 0)
			x3 = reduce(s3, c3, m3, k3)
		}
		x0, x1 = montgomery(x0, r.scale(m0, k0), m0, k0), montgomery(x1, r.scale(m1, k1), m1, k1)
		x2, x3 = montgomery(x2, r.scale(m2, k2), m2, k2), montgomery(x3, r.scale(m3, k3), m3, k3)
		q := into[i : i+8 : i+8]
		q[0], q[1] = uint32(x0%uint64(p[0])), uint32(x0%uint64(p[1]))
		q[2], q[3] = uint32(x1%uint64(p[2])), uint32(x1%uint64(p[3]))
		q[4], q[5] = uint32(x2%uint64(p[4])), uint32(x2%uint64(p[5]))
		q[6], q[7] = uint32(x3%uint64(p[6])), uint32(x3%uint64(p[7]))
	}
	for ; i < n; i++ {
		m := uint64(primes[i])
		var x uint64
		for j := len(r.words) - 1; j >= 0; j-- {
			_, x = bits.Div64(x, r.words[j], m)
		}
		into[i] = uint32(x)
	}
}

// scale returns 2^(64(n+1)) mod m for the number's n words.
func (r *residues) scale(m, k uint64) uint64 {
	one := -m % m // 2^64 mod m
	_, square := bits.Div64(one, 0, m)
	// In the form in which x stands for x/2^64, square is 2^64, and is raised to the power n.
	x := square
	for bit := r.top - 2; bit >= 0; bit-- {
		x = montgomery(x, x, m, k)
		if len(r.words)>>bit&1 == 1 {
			x = montgomery(x, square, m, k)
		}
	}
	return x
}
