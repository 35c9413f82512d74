package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"time"

	"statiko/dhparams"
)

// dhPart is the letter of this measurement.
const dhPart = "g"

// measureDH searches for safe primes as "openssl dhparam" does, which uses one processor: on one, and on all.
//
// How long one search takes is chance, so that few runs say little: the mean of 30 is right to 18 %. What a candidate
// costs can be measured well, and how many candidates it takes on average is known: of those for which a sieve up to B
// leaves k, one in k is a safe prime. The product is the mean time of a search.
func measureDH(ctx context.Context, b *bench) error {
	size := b.size.dh
	openssl, missing := exec.LookPath("openssl")
	if missing != nil {
		openssl = ""
	}
	for _, bits := range size.bits {
		if err := b.dhRates(ctx, openssl, bits, size.tests[bits]); err != nil {
			return err
		}
	}
	return b.dhRuns(ctx, openssl, size.runs)
}

// dhRow returns a row that compares seconds, with the ratio that is aimed at.
func dhRow(what, openssl string, ours, theirs []float64, aim float64) row {
	r := row{Part: dhPart, What: what, Unit: "s", Ours: median(ours)}
	if openssl == "" {
		r.Against = "openssl is missing: apt-get install openssl"
		return r
	}
	r = r.against("openssl dhparam", median(theirs))
	r.Ratio = median(ratios(ours, theirs))
	return r.target(fmt.Sprintf("ratio ≤ %.2f", aim), r.Ratio <= aim)
}

// What is aimed at, as parts of the time that openssl takes: on one processor, and on two or more.
const (
	aimOne = 1.0 / 3
	aimAll = 1.0 / 5
)

// dhRates adds rows for the mean time of a search, from the time that a candidate takes.
func (b *bench) dhRates(ctx context.Context, openssl string, bits, tests int) error {
	cores := runtime.NumCPU()
	var one, all, theirs []float64
	var costOne, costAll dhparams.Cost
	var perDot float64
	dots := opensslCandidates(bits)
	for round := range b.size.rounds {
		var err error
		if costOne, err = dhparams.Measure(ctx, dhparams.Options{Bits: bits, Workers: 1, FullPriority: true}, tests); err != nil {
			return err
		}
		one = append(one, costOne.Expected().Seconds())
		if openssl != "" {
			if perDot, err = opensslRate(ctx, openssl, bits, b.size.round); err != nil {
				return err
			}
			theirs = append(theirs, perDot*dots)
		}
		if costAll, err = dhparams.Measure(ctx, dhparams.Options{Bits: bits, Workers: cores, FullPriority: true}, tests); err != nil {
			return err
		}
		all = append(all, costAll.Expected().Seconds())
		say("  %d bits, round %d: ours %s s, on %d cores %s s, openssl %s s", bits, round+1,
			number(one[round]), cores, number(all[round]), number(perDot*dots))
	}
	describe := func(c dhparams.Cost, values []float64) string {
		text := fmt.Sprintf("sieve %s s, then %s ms × %s candidates; %s", number(c.Sieve.Seconds()),
			number(milliseconds(c.PerTest)), number(c.Tests), spread(values))
		if openssl != "" {
			text += fmt.Sprintf("; openssl %s ms × %s, %s", number(1000*perDot), number(dots), spread(theirs))
		}
		return text
	}
	r := dhRow(fmt.Sprintf("DH parameters of %d bits, mean expected, one core", bits), openssl, one, theirs, aimOne)
	r.Growth = describe(costOne, one)
	s := dhRow(fmt.Sprintf("DH parameters of %d bits, mean expected, %d cores", bits, cores), openssl, all, theirs, aimAll)
	s.Growth = describe(costAll, all)
	b.add(r, s)
	return nil
}

// opensslRate returns how many seconds "openssl dhparam" spends on a candidate. It writes a dot for each that its sieve
// leaves.
func opensslRate(ctx context.Context, openssl string, bits int, d time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*d)
	defer cancel()
	dots, spent := 0, time.Duration(0)
	for d-spent > d/20 { // too little is not worth a start
		n, took, err := opensslDots(ctx, openssl, bits, d-spent)
		if err != nil {
			return 0, err
		}
		dots, spent = dots+n, spent+took
	}
	if dots == 0 {
		return 0, fmt.Errorf("openssl dhparam %d: no candidate in %v", bits, spent)
	}
	return spent.Seconds() / float64(dots), nil
}

// opensslDots runs openssl until it is done, or for so long, and returns the number of dots and the time of the last.
// Its last tests, of the number found, are not counted.
func opensslDots(ctx context.Context, openssl string, bits int, d time.Duration) (dots int, took time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	// Its own pipe, so that what is written is read at once.
	r, w, err := os.Pipe()
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	cmd := exec.CommandContext(limited, openssl, "dhparam", "-out", os.DevNull, fmt.Sprint(bits))
	cmd.Stderr = w
	began := time.Now()
	err = cmd.Start()
	w.Close() // the child has it
	if err != nil {
		return 0, 0, err
	}
	buffer := make([]byte, 1<<16)
	for {
		n, err := r.Read(buffer)
		if k := bytes.Count(buffer[:n], []byte(".")); k > 0 {
			dots, took = dots+k, time.Since(began)
		}
		if err != nil { // the end of the process
			break
		}
	}
	if err := cmd.Wait(); err != nil && limited.Err() == nil {
		return 0, 0, fmt.Errorf("openssl dhparam: %w", err)
	}
	return dots, max(took, time.Millisecond), nil
}

// opensslCandidates returns how many candidates OpenSSL's sieve leaves to a safe prime, on average. It tries the same
// numbers as we do, 23 modulo 24, and divides p and (p-1)/2 by so many primes (calc_trial_divisions in
// crypto/bn/bn_prime.c of OpenSSL 3), the first of which is 2.
func opensslCandidates(bits int) float64 {
	divisors := 2048
	for _, s := range []struct{ bits, divisors int }{{512, 64}, {1024, 128}, {2048, 384}, {4096, 1024}} {
		if bits <= s.bits {
			divisors = s.divisors
			break
		}
	}
	left := 1.0
	for r, n := 3, 1; n < divisors; r += 2 {
		if !isPrime(r) {
			continue
		}
		if n++; r > 3 { // 3 divides no number of the row
			left *= 1 - 2/float64(r)
		}
	}
	return dhparams.Candidates(bits) * left
}

func isPrime(n int) bool {
	for d := 3; d*d <= n; d += 2 {
		if n%d == 0 {
			return false
		}
	}
	return n > 2
}

// dhRuns adds rows for the mean of whole searches at 1024 bits.
func (b *bench) dhRuns(ctx context.Context, openssl string, runs int) error {
	cores := runtime.NumCPU()
	var one, all, theirs []float64
	for range runs {
		for _, o := range []struct {
			workers int
			times   *[]float64
		}{{1, &one}, {cores, &all}} {
			began := time.Now()
			if _, err := dhparams.Generate(ctx, dhparams.Options{Bits: 1024, Workers: o.workers, FullPriority: true}); err != nil {
				return err
			}
			*o.times = append(*o.times, time.Since(began).Seconds())
		}
		if openssl == "" {
			continue
		}
		began := time.Now()
		if out, err := exec.CommandContext(ctx, openssl, "dhparam", "-out", os.DevNull, "1024").CombinedOutput(); err != nil {
			return fmt.Errorf("openssl dhparam: %w: %s", err, out)
		}
		theirs = append(theirs, time.Since(began).Seconds())
	}
	for _, o := range []struct {
		what  string
		times []float64
		aim   float64
	}{{"one core", one, aimOne}, {fmt.Sprintf("%d cores", cores), all, aimAll}} {
		r := dhRow(fmt.Sprintf("DH parameters of 1024 bits, mean of %d searches, %s", runs, o.what), openssl,
			[]float64{mean(o.times)}, []float64{mean(theirs)}, o.aim)
		r.Growth = fmt.Sprintf("± %s s", number(standardError(o.times)))
		if openssl != "" {
			r.Growth += fmt.Sprintf("; openssl ± %s s", number(standardError(theirs)))
		}
		b.add(r)
	}
	return nil
}

// mean is 0 without values.
func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(1, len(values)))
}

// standardError is that of the mean; 0 for less than two values.
func standardError(values []float64) float64 {
	if len(values) < 2 {
		return 0
	}
	m, sum := mean(values), 0.0
	for _, v := range values {
		sum += (v - m) * (v - m)
	}
	return math.Sqrt(sum / float64(len(values)-1) / float64(len(values)))
}
