package dhparams

import (
	"context"
	"time"
)

// Cost says how long a search takes on average, as far as measured.
type Cost struct {
	// Sieve is the time of the sieve, and PerTest that of one test: the time of all workers divided by their tests.
	Sieve, PerTest time.Duration
	// Candidates is the number of candidates to a safe prime on average, Tests how many of them are left by the
	// sieve.
	Candidates, Tests float64
}

// Expected returns how long a search takes on average.
func (c Cost) Expected() time.Duration {
	return c.Sieve + time.Duration(c.Tests*float64(c.PerTest))
}

// Measure does what [Generate] does with the options, but stops after so many tests, whatever was found.
func Measure(ctx context.Context, o Options, tests int) (Cost, error) {
	o = o.withDefaults()
	s := newSearch(o)
	c := Cost{Candidates: s.plan.candidates, Tests: s.plan.tests}
	began := time.Now()
	w, err := newWindow(o.Bits, s.plan.length, o.Rand)
	if err != nil {
		return c, err
	}
	if err := w.sieve(ctx, s.plan.bound, o.Workers, s.low); err != nil {
		return c, err
	}
	c.Sieve = time.Since(began)
	began = time.Now()
	inParallel(o.Workers, s.low, func() {
		powers := newPowers(o.Bits)
		for ctx.Err() == nil && s.tried.Load() < int64(tests) {
			questions, _ := w.ask(nil, nil, powers.width())
			if len(questions) == 0 {
				return
			}
			if _, err := powers.areOne(ctx, questions); err == nil {
				s.tried.Add(int64(len(questions)))
			}
		}
	})
	c.PerTest = time.Since(began) / time.Duration(max(1, s.tried.Load()))
	return c, ctx.Err()
}
