package dhparams

import (
	"context"
	"math/big"
)

// negInverse returns -1/n mod 2^64 for an odd n, by Newton's method: each step doubles the bits that are right, and n
// itself has three.
func negInverse(n uint64) uint64 {
	x := n
	for range 5 {
		x *= 2 - n*x
	}
	return -x
}

type expPowers struct{}

func newWordPowers(int) powers { return expPowers{} }

func (expPowers) width() int { return 1 }

func (expPowers) areOne(_ context.Context, questions []power) (uint, error) {
	q := questions[0]
	one := big.NewInt(1)
	if isOne(new(big.Int).Exp(big.NewInt(2), q.e, q.n), one, q.n) {
		return 1, nil
	}
	return 0, nil
}
