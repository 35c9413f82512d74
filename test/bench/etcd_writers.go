package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// etcdPart is the letter of this part.
const etcdPart = "f"

// measureThroughput counts the updates that so many writers make at once on one store.
func (e *etcd) measureThroughput(ctx context.Context) (err error) {
	a, err := e.openHealthy(ctx, writersPrefix, "a")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	r, err := e.raw(writersRaw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	var next atomic.Int64
	ours := func(ctx context.Context) error {
		_, err := a.put(ctx, newSite("load", int(next.Add(1))))
		return err
	}
	theirs := func(ctx context.Context) error { return r.add(ctx, newSite("load", int(next.Add(1)))) }
	for _, writers := range e.size.writers {
		var our, their []float64
		for range e.size.rounds {
			n, err := together(ctx, writers, e.size.round, ours)
			if err != nil {
				return err
			}
			our = append(our, n)
			if n, err = together(ctx, writers, e.size.round, theirs); err != nil {
				return err
			}
			their = append(their, n)
		}
		say("  writers: %d: ours %s, raw %s updates/s", writers, number(median(our)), number(median(their)))
		row := row{Part: etcdPart, What: fmt.Sprintf("etcd: updates, writers at once on one node: %d", writers), Unit: "updates/s", Ours: median(our)}.
			against("raw transactions of the same keys", median(their))
		each := ratios(our, their)
		row.Ratio = median(each)
		row.Growth = fmt.Sprintf("ratios: %s to %s", number(percentile(each, 0)), number(percentile(each, 100)))
		e.add(row.ratioAtLeast(0.5))
	}
	return nil
}

// together has so many writers call f again and again for a while, and returns how often a second all together.
func together(ctx context.Context, writers int, d time.Duration, f func(context.Context) error) (float64, error) {
	g, each := errgroup.WithContext(ctx)
	var count atomic.Int64
	began := time.Now()
	for range writers {
		g.Go(func() error {
			for time.Since(began) < d {
				if err := each.Err(); err != nil {
					return err
				}
				if err := f(each); err != nil {
					return err
				}
				count.Add(1)
			}
			return nil
		})
	}
	err := g.Wait()
	return float64(count.Load()) / time.Since(began).Seconds(), err
}
