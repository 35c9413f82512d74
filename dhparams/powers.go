package dhparams

import (
	"context"
	"math/big"
)

// lanes is how many powers are computed at once where the processor has vectors for that.
const lanes = 8

// power is the question whether 2^e = ±1 mod n, for an odd n. It must be e > 64.
type power struct{ n, e *big.Int }

// powers answers such questions. An implementation belongs to one goroutine.
type powers interface {
	// width is how many questions it takes as long to answer as one.
	width() int
	// areOne returns a set of bits: bit i tells whether the answer to the question i is yes, of at most width. All
	// exponents have the same length, or one bit more. It returns ctx's error soon after ctx has ended.
	areOne(ctx context.Context, questions []power) (uint, error)
}

// newPowers returns the fastest way of this machine for moduli of at most the given length.
func newPowers(bits int) powers {
	if vectors() {
		return newVectorPowers(bits)
	}
	return newWordPowers(bits)
}

// lookEvery is after how many squarings it is looked whether the work is still wanted: under 100 ms of the slowest.
const lookEvery = 128

// isOne tells whether x = ±factor mod n.
func isOne(x, factor, n *big.Int) bool {
	r := new(big.Int).Sub(x, factor)
	if r.Mod(r, n).Sign() == 0 {
		return true
	}
	r.Add(x, factor)
	return r.Mod(r, n).Sign() == 0
}
