package dhparams

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"testing"
)

func randomOdd(t testing.TB, bits int) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-1)))
	if err != nil {
		t.Fatal(err)
	}
	return n.SetBit(n.SetBit(n, 0, 1), bits-1, 1)
}

// smallPrime returns a prime of the given length, or n if finding one takes long.
func smallPrime(t testing.TB, bits int, n *big.Int) *big.Int {
	t.Helper()
	if bits > 300 {
		return n
	}
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func BenchmarkPowers(b *testing.B) {
	for _, bits := range []int{1024, 2048, 4096} {
		n := randomOdd(b, bits)
		q := power{n, new(big.Int).Rsh(n, 1)}
		for name, p := range map[string]powers{"words": newWordPowers(bits), "vectors": newVectorPowers(bits)} {
			var all []power
			for range p.width() {
				all = append(all, q)
			}
			b.Run(fmt.Sprintf("%s/%d", name, bits), func(b *testing.B) {
				for range b.N {
					if _, err := p.areOne(context.Background(), all); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*p.width()), "µs/power")
			})
		}
	}
}

func TestPowers_AgreeWithBig(t *testing.T) {
	for _, bits := range []int{70, 128, 257, 1024, 2048, 3072, 4096} {
		for name, p := range map[string]powers{"words": newWordPowers(bits), "vectors": newVectorPowers(bits)} {
			for round := range 6 {
				if bits > 1024 && round%5 != 0 { // slow, and nothing but the number of words differs
					continue
				}
				var all []power
				var want uint
				for i := range min(p.width(), round+3) {
					n := randomOdd(t, bits)
					if i%2 == 0 {
						n = smallPrime(t, bits, n)
					}
					e := new(big.Int).Rsh(n, 1)
					x := new(big.Int).Exp(big.NewInt(2), e, n)
					if x.Cmp(big.NewInt(1)) == 0 || x.Add(x, big.NewInt(1)).Cmp(n) == 0 {
						want |= 1 << i
					}
					all = append(all, power{n, e})
				}
				got, err := p.areOne(context.Background(), all)
				if err != nil || got != want {
					t.Errorf("%s, %d bits: %b, want %b, %v", name, bits, got, want, err)
				}
			}
		}
	}
}
