package dhparams

import (
	"fmt"
	"math/big"
	"strings"
)

// Sizes of primes in bits.
const (
	// MinBits is the least that is not weak: OpenSSL 3 refuses less at its usual level of security.
	MinBits = 2048
	// MinWeakBits is the least even if weak ones are allowed.
	MinWeakBits = 1024
	// MaxBits bounds the work of checking and of every handshake.
	MaxBits = 16384
)

// minExponentBits is twice the security of the smallest group (RFC 7919, section 5.2).
const minExponentBits = 224

// primeRounds returns the number of Miller-Rabin rounds beside the Baillie-PSW test, which no composite number is known
// to pass: fewer where a round takes a tenth of a second and more.
func primeRounds(bits int) int {
	if bits <= 4096 {
		return 32
	}
	return 8
}

// Codes of faults.
const (
	FaultTooSmall  = "too_small"
	FaultTooLarge  = "too_large"
	FaultNotPrime  = "not_prime"
	FaultNotSafe   = "not_safe_prime"
	FaultGenerator = "bad_generator"
	FaultExponent  = "short_exponent"
)

// Fault is one thing that is wrong with parameters.
type Fault struct {
	// Code is one of the Fault constants.
	Code string
	// Text is a sentence for people, without a final stop.
	Text string
}

// CheckError has all that is wrong with parameters.
type CheckError struct{ Faults []Fault }

func (e *CheckError) Error() string {
	texts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		texts[i] = f.Text
	}
	return strings.Join(texts, "; ")
}

// Check returns a [*CheckError] with everything that is wrong: the prime must have 2048 to 16384 bits (1024 if weak
// ones are allowed) and be safe, that is (p-1)/2 must be prime too; the generator must be in 2 … p-2. All such
// generators are good: as the order of each divides p-1 = 2q it is q or 2q, whatever p is modulo 24. So what
// OpenSSL makes and the groups of RFC 7919 pass.
//
// It takes time that grows steeply with the size (measured: 0.3 s at 2048 bits, 1.5 s at 4096, 5 s at 8192). What is
// cheap is checked first, and primes that are too large are not tested.
func (p *Params) Check(allowWeak bool) error {
	var e CheckError
	add := func(code, format string, args ...any) {
		e.Faults = append(e.Faults, Fault{code, fmt.Sprintf(format, args...)})
	}
	least := MinBits
	if allowWeak {
		least = MinWeakBits
	}
	n := p.Bits()
	switch {
	case n > MaxBits:
		add(FaultTooLarge, "the prime has %d bits; more than %d are of no use", n, MaxBits)
	case n < MinWeakBits:
		add(FaultTooSmall, "the prime has %d bits, which is broken easily; at least %d are needed", n, MinBits)
	case n < least:
		add(FaultTooSmall, "the prime has %d bits; at least %d are needed, as web servers refuse less", n, least)
	}
	one := big.NewInt(1)
	if p.G.Cmp(one) <= 0 || new(big.Int).Add(p.G, one).Cmp(p.P) >= 0 {
		add(FaultGenerator, "the generator must lie between 2 and the prime less 2")
	}
	if p.ExponentBits != 0 && (p.ExponentBits < min(minExponentBits, n-1) || p.ExponentBits > n) {
		add(FaultExponent, "the parameters ask for private exponents of %d bits; %d to %d are possible", p.ExponentBits, minExponentBits, n)
	}
	if n <= MaxBits {
		switch prime, safe := safePrime(p.P); {
		case !prime:
			add(FaultNotPrime, "the modulus is not a prime number")
		case !safe:
			add(FaultNotSafe, "the prime is not a safe prime: half of it, rounded down, is not prime")
		}
	}
	if len(e.Faults) == 0 {
		return nil
	}
	return &e
}

// safePrime tells whether p is prime, and whether q = (p-1)/2 is as well.
func safePrime(p *big.Int) (prime, safe bool) {
	if p.Bit(0) == 0 || p.BitLen() < 4 {
		return p.ProbablyPrime(0), false // 2, and what is too small to be of interest
	}
	q, rounds := new(big.Int).Rsh(p, 1), primeRounds(p.BitLen())
	// The quick test first: numbers that people bring by mistake end here.
	if !q.ProbablyPrime(0) || !q.ProbablyPrime(rounds) {
		return p.ProbablyPrime(rounds), false
	}
	prime = primeAbove(p)
	return prime, prime
}

// primeAbove tells whether p = 2q + 1 is prime, given a prime q > 3 (Pocklington, "The determination of the prime or
// composite nature of large numbers by Fermat's theorem", 1914): if so, 2^(p-1) = 1 mod p, and 2² - 1 = 3 has no
// factor in common with p; and only if so, as q is more than the root of p.
func primeAbove(p *big.Int) bool {
	if new(big.Int).Mod(p, big.NewInt(3)).Sign() == 0 {
		return false
	}
	one := big.NewInt(1)
	return new(big.Int).Exp(big.NewInt(2), new(big.Int).Sub(p, one), p).Cmp(one) == 0
}
