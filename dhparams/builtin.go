package dhparams

import "math/big"

// groups are those of RFC 7919, appendix A, in the order of their sizes: p = 2^b - 2^(b-64) + (floor(2^(b-130) e) + X)
// 2^64 - 1, with X the least number that makes p a safe prime.
func groups() []struct {
	bits uint
	x    int64
} {
	return []struct {
		bits uint
		x    int64
	}{{2048, 560316}, {3072, 2625351}, {4096, 5736041}, {6144, 15705020}, {8192, 10965728}}
}

// Builtin returns the smallest group of RFC 7919 that has at least the given number of bits, or the largest: ffdhe2048,
// ffdhe3072, ffdhe4096, ffdhe6144 or ffdhe8192. It computes them, in about a millisecond.
func Builtin(bits int) *Params {
	all := groups()
	for _, g := range all {
		if int(g.bits) >= bits {
			return ffdhe(g.bits, g.x)
		}
	}
	last := all[len(all)-1]
	return ffdhe(last.bits, last.x)
}

func ffdhe(bits uint, x int64) *Params {
	pow := func(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }
	p := floorE(bits - 130)
	p.Add(p, big.NewInt(x)).Lsh(p, 64)
	p.Add(p, pow(bits)).Sub(p, pow(bits-64)).Sub(p, big.NewInt(1))
	return &Params{P: p, G: big.NewInt(2)}
}

// floorE returns floor(2^n e), by the series of 1/k! with so many bits more that the roundings, less than one each
// for about a thousand terms, do not reach the result.
func floorE(n uint) *big.Int {
	const guard = 64
	term := new(big.Int).Lsh(big.NewInt(1), n+guard)
	sum := new(big.Int)
	for k := int64(1); term.Sign() > 0; k++ {
		sum.Add(sum, term)
		term.Quo(term, big.NewInt(k))
	}
	return sum.Rsh(sum, guard)
}
