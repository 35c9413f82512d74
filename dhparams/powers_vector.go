//go:build amd64 && !purego

package dhparams

import (
	"context"
	"math/big"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// vectors tells whether the processor multiplies eight pairs of 52-bit numbers in one instruction (AVX-512 IFMA) and
// the operating system lets it.
func vectors() bool { return cpu.X86.HasAVX512F && cpu.X86.HasAVX512IFMA }

const (
	digitBits = 52
	digitMask = 1<<digitBits - 1
)

// vectorPowers computes eight powers of two at once, one in each lane of vectors.
//
// A number has digits of 52 bits. Digit j of all eight numbers is one vector: the words 8j … 8j+7. With R = 2^(52 d)
// for d digits, x stands for x/R mod n (Montgomery, "Modular multiplication without trial division", 1985), and is
// less than 2.01 n, not n: as R is more than 4 n this needs no subtraction (Walter, "Montgomery exponentiation needs
// no final subtractions", 1999), even if the square is doubled.
//
// For base 2 there is nothing to multiply by: a power is squarings only, each followed by doubling where the bit of
// the exponent is set. The leading bits of the exponent cost nothing, for 2 to them is shorter than n.
type vectorPowers struct {
	digits int // even
	// a is the power, with two digits of 0 behind it, n the moduli, likewise, and t has space for a square.
	a, n, t []uint64
	// k0 is -1/n mod 2^52.
	k0 []uint64
}

// square8 sets a to a²/R mod n, lane by lane, and doubles it in the lanes whose bit is set in double.
//
//go:noescape
func square8(a, t, n, k0 *uint64, digits int, double uint32)

func newVectorPowers(bits int) powers {
	// Two bits more than n make R > 4n.
	d := (bits + 2 + digitBits - 1) / digitBits
	d += d & 1
	return &vectorPowers{digits: d, a: aligned(d + 2), n: aligned(d + 2), t: aligned(2*d + 2), k0: aligned(1)}
}

// aligned returns so many vectors that each is a line of the cache. What is on the heap stays where it is.
func aligned(vectors int) []uint64 {
	b := make([]uint64, lanes*vectors+7)
	skip := -(uintptr(unsafe.Pointer(&b[0])) / 8) & 7
	return b[skip : skip+uintptr(lanes*vectors)]
}

func (v *vectorPowers) width() int { return lanes }

func (v *vectorPowers) areOne(ctx context.Context, questions []power) (uint, error) {
	// The bits below low are walked through.
	low := questions[0].e.BitLen() - 1
	for _, q := range questions {
		low = min(low, q.e.BitLen()-1)
	}
	for top := 1; low > 0 && top<<1 < questions[0].n.BitLen()/2; top <<= 1 {
		low--
	}
	r := new(big.Int).Lsh(big.NewInt(1), uint(digitBits*v.digits))
	x := new(big.Int)
	for lane := range lanes {
		q := questions[min(lane, len(questions)-1)] // lanes that nobody needs repeat the last
		v.set(v.n, lane, q.n)
		v.k0[lane] = negInverse(uint64(q.n.Bits()[0])) & digitMask // 64-bit words
		lead := uint(x.Rsh(q.e, uint(low)).Uint64())
		v.set(v.a, lane, x.Mod(x.Lsh(r, lead), q.n))
	}
	for i := low - 1; i >= 0; i-- {
		var double uint32
		for lane, q := range questions {
			double |= uint32(q.e.Bit(i)) << lane
		}
		square8(&v.a[0], &v.t[0], &v.n[0], &v.k0[0], v.digits, double)
		if i%lookEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	var yes uint
	for lane, q := range questions {
		if isOne(v.get(v.a, lane), r, q.n) {
			yes |= 1 << lane
		}
	}
	return yes, nil
}

// set writes a number into one lane.
func (v *vectorPowers) set(to []uint64, lane int, x *big.Int) {
	words := x.Bits()
	for j := range v.digits {
		bit := digitBits * j
		var d uint64
		if w := bit / 64; w < len(words) {
			d = uint64(words[w]) >> (bit % 64)
			if w+1 < len(words) {
				d |= uint64(words[w+1]) << 1 << (63 - bit%64)
			}
		}
		to[lanes*j+lane] = d & digitMask
	}
}

// get reads a number from one lane.
func (v *vectorPowers) get(from []uint64, lane int) *big.Int {
	x := new(big.Int)
	for j := v.digits - 1; j >= 0; j-- {
		x.Lsh(x, digitBits)
		x.Or(x, new(big.Int).SetUint64(from[lanes*j+lane]))
	}
	return x
}
