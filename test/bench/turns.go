package main

import "time"

// turns are the times of several things that take turns, by thing and round.
type turns [][][]time.Duration

// percentile is that of all times of one, in ms.
func (t turns) percentile(i int, p float64) float64 {
	var flat []time.Duration
	for _, round := range t[i] {
		flat = append(flat, round...)
	}
	return milliseconds(percentile(flat, p))
}

// p50 are the medians of one in each round, in ms.
func (t turns) p50(i int) []float64 {
	var each []float64
	for _, round := range t[i] {
		each = append(each, milliseconds(percentile(round, 50)))
	}
	return each
}

// stopwatch times f.
func stopwatch(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}
