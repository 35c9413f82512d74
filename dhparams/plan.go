package dhparams

import "math"

// twinConstant is the constant of twin primes, the product of (1 - 1/(r-1)²) over all odd primes r, which is that of
// safe primes too: Hardy and Littlewood, "Some problems of Partitio numerorum III" (1923), conjecture D.
const twinConstant = 0.6601618158468696

// eulerGamma is the constant of Euler and Mascheroni, of Mertens' theorem.
const eulerGamma = 0.5772156649015329

// plan is how a search for one size goes.
type plan struct {
	// bound is up to which primes are sieved, length the number of candidates in a window.
	bound  uint64
	length int
	// candidates is how many there are to a safe prime on average, tests how many of them are left by the sieve.
	candidates, tests float64
}

// planFor returns the plan for a size, for tests of so many candidates at once.
func planFor(bits, width int) plan {
	pl := plan{bound: boundFor(bits, width)}
	pl.candidates = Candidates(bits)
	lnq := float64(bits-1) * math.Ln2
	ratio := lnq / (math.Exp(eulerGamma) * math.Log(float64(pl.bound)))
	pl.tests = ratio * ratio
	// One window in e^4 = 55 has no safe prime.
	pl.length = (int(4*pl.candidates)/64 + 1) * 64
	return pl
}

// Candidates returns how many numbers p = 23 modulo 24 of the given size in bits there are to a safe prime, on average.
//
// By conjecture D, of the numbers around q one in ln q ln p / (2 C) is a prime q with a prime p = 2q + 1, with C the
// constant of twin primes. All of them are 11 modulo 12 or 5 modulo 12, half and half, so that of the numbers 11
// modulo 12 it is one in ln q ln p / (12 C).
func Candidates(bits int) float64 {
	// The mean of ln p over the numbers of the size is about this, 0.31 below that of the largest.
	lnp := (float64(bits) - 0.44) * math.Ln2
	return lnp * (lnp - math.Ln2) / (12 * twinConstant)
}

// boundFor returns up to which primes it is best to sieve.
//
// What is left by the sieve up to B is in proportion to 1/ln² B, for Mertens' theorem holds for p and for q. With k
// tests of t seconds left, k = (ln q / (e^γ ln B))², and c seconds for each prime of the sieve, of which there are
// B/ln B, the sum is least where B ln² B = 2 (ln q / e^γ)² t/c. The quotient t/c was measured: see [ratioOf].
func boundFor(bits, width int) uint64 {
	if bits < 256 { // for tests: there is nothing to gain, and factors stay below q
		return 1 << 11
	}
	k := float64(bits-1) * math.Ln2 / math.Exp(eulerGamma)
	want := 2 * k * k * ratioOf(bits, width)
	low, high := 1<<11+0.0, 1<<32+0.0
	for range 60 {
		if b := math.Sqrt(low * high); b*math.Log(b)*math.Log(b) < want {
			low = b
		} else {
			high = b
		}
	}
	return uint64(low)
}

// ratioOf returns how much longer a test takes than a prime of the sieve. Both depend on the size: the test on its
// third power, the sieve on a constant and a part in proportion.
func ratioOf(bits, width int) float64 {
	k := float64(bits) / 1024
	test := 75e-6 // of eight at once
	if width == 1 {
		test = 500e-6
	}
	return test * k * k * k / (35e-9 + 12e-9*k)
}
