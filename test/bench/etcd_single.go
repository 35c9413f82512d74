package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/state"
)

// Prefixes of keys. Ours and the reference's are equally long.
const (
	singlePrefix, singleRaw   = "/single-ours", "/single-them"
	writersPrefix, writersRaw = "/writer-ours", "/writer-them"
)

// newSite returns a site that is added, in its stored form.
func newSite(round string, i int) *state.Site {
	return &state.Site{Domain: fmt.Sprintf("%s-%08d.example.test", round, i), TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

func (r *replica) put(ctx context.Context, s *state.Site) (int64, error) {
	return r.Update(ctx, func(d *state.Draft) error { return d.Put(s) })
}

// timed does something for the i-th time and returns how long it took.
type timed func(ctx context.Context, i int) (time.Duration, error)

// alternate has things take turns, after one turn that does not count.
func (e *etcd) alternate(ctx context.Context, things ...timed) (turns, error) {
	t := make(turns, len(things))
	each := max(1, e.size.turns/e.size.rounds)
	for i := -1; i < e.size.rounds*each; i++ {
		for k, do := range things {
			took, err := do(ctx, i+1)
			if err != nil {
				return t, err
			}
			if i < 0 {
				continue
			}
			if i%each == 0 {
				t[k] = append(t[k], nil)
			}
			last := len(t[k]) - 1
			t[k][last] = append(t[k][last], took)
		}
	}
	return t, nil
}

// row compares the medians of one with those of another.
func (t turns) row(ours, theirs int, what, reference string) row {
	r := row{Part: etcdPart, What: what + ", p50", Unit: "ms", Ours: t.percentile(ours, 50)}.against(reference, t.percentile(theirs, 50))
	each := ratios(t.p50(ours), t.p50(theirs))
	r.Ratio = median(each)
	r.Growth = fmt.Sprintf("ratios: %s to %s; p99 %s ms, reference %s", number(percentile(each, 0)), number(percentile(each, 100)),
		number(t.percentile(ours, 99)), number(t.percentile(theirs, 99)))
	return r
}

// ratioAtMost aims at a ratio to the reference.
func (r row) ratioAtMost(limit float64) row {
	if r.Ratio == 0 {
		return r
	}
	return r.target("ratio ≤ "+number(limit), r.Ratio <= limit)
}

// measureSingle times one update after the other: on the node that makes it, and until another has it.
func (e *etcd) measureSingle(ctx context.Context) (err error) {
	a, err := e.openHealthy(ctx, singlePrefix, "a")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	r, err := e.raw(singleRaw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	add := func(ctx context.Context, i int) (time.Duration, error) {
		return stopwatch(func() error { _, err := a.put(ctx, newSite("alone", i)); return err })
	}
	say("  one update")
	put, err := e.alternate(ctx, add, func(ctx context.Context, i int) (time.Duration, error) {
		return stopwatch(func() error { _, err := r.put(ctx, newSite("alone", i)); return err })
	})
	if err != nil {
		return err
	}
	txn, err := e.alternate(ctx, func(ctx context.Context, i int) (time.Duration, error) {
		return stopwatch(func() error { _, err := a.put(ctx, newSite("again", i)); return err })
	}, func(ctx context.Context, i int) (time.Duration, error) {
		return stopwatch(func() error { return r.add(ctx, newSite("again", i)) })
	})
	if err != nil {
		return err
	}
	e.add(put.row(0, 1, "etcd: one update", "raw put").ratioAtMost(2), txn.row(0, 1, "… against a transaction of the same keys", "raw transaction"))
	return e.measurePropagation(ctx, a, r)
}

// arrival is when a revision was seen.
type arrival struct {
	revision int64
	at       time.Time
}

// await returns when the revision was seen.
func await(ctx context.Context, arrivals <-chan arrival, revision int64) (time.Time, error) {
	late := time.NewTimer(probeTimeout)
	defer late.Stop()
	for {
		select {
		case a, ok := <-arrivals:
			if !ok {
				return time.Time{}, errors.New("nothing is followed any more")
			}
			if a.revision >= revision {
				return a.at, nil
			}
		case <-late.C:
			return time.Time{}, fmt.Errorf("revision %d has not come within %s", revision, probeTimeout)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// propagation times from the beginning of a change until somebody else has seen it.
func propagation(arrivals <-chan arrival, change func(ctx context.Context, s *state.Site) (int64, error)) timed {
	return func(ctx context.Context, i int) (time.Duration, error) {
		site := newSite("seen", i)
		began := time.Now()
		revision, err := change(ctx, site)
		if err != nil {
			return 0, err
		}
		at, err := await(ctx, arrivals, revision)
		return at.Sub(began), err
	}
}

// measurePropagation times from an update on one store to the snapshot of another, beside a put and a watch.
func (e *etcd) measurePropagation(ctx context.Context, a *replica, r *raw) (err error) {
	say("  from one store to the other")
	b, err := e.openHealthy(ctx, singlePrefix, "b")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	watcher, err := e.raw(singleRaw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watcher.close()) }()

	ctx, cancel := context.WithCancel(ctx)
	ours, theirs := make(chan arrival, 16), make(chan arrival, 16)
	go followStore(ctx, b, ours)
	go followWatch(ctx, watcher, theirs)
	defer func() {
		cancel()
		for range ours { // Until both have ended.
		}
		for range theirs {
		}
	}()
	// The watch answers once it is there: what is put before is not seen.
	if _, err := await(ctx, theirs, 0); err != nil {
		return err
	}
	t, err := e.alternate(ctx, propagation(ours, a.put), propagation(theirs, r.put))
	if err != nil {
		return err
	}
	e.add(t.row(0, 1, "etcd: update on one node to the snapshot of another", "raw put to watch").ratioAtMost(2))
	return nil
}

// followStore sends when the store has a newer snapshot, until ctx ends.
func followStore(ctx context.Context, b *replica, to chan<- arrival) {
	defer close(to)
	for revision := b.Snapshot().Revision(); ; {
		s, err := b.Wait(ctx, revision)
		if err != nil {
			return
		}
		revision = s.Revision()
		if !send(ctx, to, arrival{revision, time.Now()}) {
			return
		}
	}
}

// followWatch sends when the watch begins and when it brings something, until ctx ends.
func followWatch(ctx context.Context, r *raw, to chan<- arrival) {
	defer close(to)
	for answer := range r.kv.Watch(ctx, r.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
		if !send(ctx, to, arrival{answer.Header.Revision, time.Now()}) {
			return
		}
	}
}

func send(ctx context.Context, to chan<- arrival, a arrival) bool {
	select {
	case to <- a:
		return true
	case <-ctx.Done():
		return false
	}
}
