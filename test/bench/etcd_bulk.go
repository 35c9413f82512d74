package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"statiko/state"
)

// document makes a state of so many sites, each with an alias.
func document(count int) (*state.Document, error) {
	var list strings.Builder
	for i := range count {
		if i > 0 {
			list.WriteByte(',')
		}
		domain := bulkDomain(i)
		fmt.Fprintf(&list, `{"domain":%q,"aliases":[%q],"tls":{"type":"selfsigned"},"app":null}`, domain, "www."+domain)
	}
	return state.ParseDocument([]byte(`{"sites":[` + list.String() + `]}`))
}

func bulkDomain(i int) string { return fmt.Sprintf("site-%06d.example.test", i) }

// Prefixes of as many sites: ours, and the reference's of each round, which is equally long.
func bulkPrefix(count int) string     { return fmt.Sprintf("/%06d-of-ours", count) }
func bulkRaw(count, round int) string { return fmt.Sprintf("/%06d-them-%02d", count, round) }

// bulk is what was measured with a number of sites, in s and bytes.
type bulk struct {
	sites                                  int
	restored, rawRestored, loaded, rawRead []float64
	memory                                 float64
}

// measureBulk restores and loads sites, few to many, beside puts and reads of the same keys.
func (e *etcd) measureBulk(ctx context.Context) error {
	var all []*bulk
	for _, count := range e.size.counts {
		b := &bulk{sites: count}
		for _, measure := range []func(context.Context, *bulk) error{e.measureRestore, e.measureLoad, e.measureMemory} {
			if err := measure(ctx, b); err != nil {
				return fmt.Errorf("%d sites: %w", count, err)
			}
		}
		all = append(all, b)
	}
	e.add(e.bulkRows(all)...)
	return nil
}

func (e *etcd) measureRestore(ctx context.Context, b *bulk) (err error) {
	doc, err := document(b.sites)
	if err != nil {
		return err
	}
	a, err := e.openHealthy(ctx, bulkPrefix(b.sites), "a")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	for i := range e.size.bulks {
		took, err := stopwatch(func() error { return a.restore(ctx, doc) })
		if err != nil {
			return err
		}
		b.restored = append(b.restored, took.Seconds())
		if took, err = e.rawRestore(ctx, bulkRaw(b.sites, i), doc); err != nil {
			return err
		}
		b.rawRestored = append(b.rawRestored, took.Seconds())
		say("  restore of %d sites: ours %s s, raw %s s", b.sites, number(b.restored[i]), number(b.rawRestored[i]))
	}
	return nil
}

// restore returns when the restored state is the store's snapshot.
func (r *replica) restore(ctx context.Context, doc *state.Document) error {
	revision, err := r.Restore(ctx, doc, 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	_, err = r.Wait(ctx, revision-1)
	return err
}

// rawRestore puts the same keys, which are made before the time begins.
func (e *etcd) rawRestore(ctx context.Context, prefix string, doc *state.Document) (took time.Duration, err error) {
	r, err := e.raw(prefix)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	var pairs []pair
	for _, o := range doc.Objects(state.KindSite) {
		more, err := r.sitePairs(o.(*state.Site))
		if err != nil {
			return 0, err
		}
		pairs = append(pairs, more...)
	}
	return stopwatch(func() error { return r.putAll(ctx, pairs) })
}

func (e *etcd) measureLoad(ctx context.Context, b *bulk) error {
	for i := range e.size.bulks {
		var store *replica
		took, err := stopwatch(func() (err error) { store, err = e.open(ctx, bulkPrefix(b.sites), "b"); return err })
		if err != nil {
			return err
		}
		sites := store.Snapshot().Len(state.KindSite)
		if err := store.close(); err != nil {
			return err
		}
		if sites != b.sites {
			return fmt.Errorf("loaded %d sites", sites)
		}
		b.loaded = append(b.loaded, took.Seconds())
		count := 0
		if took, err = stopwatch(func() (err error) { count, err = e.rawLoad(ctx, bulkRaw(b.sites, i)); return err }); err != nil {
			return err
		}
		if count != 3*sites { // The site and its two names.
			return fmt.Errorf("the raw client read %d keys of %d", count, 3*sites)
		}
		b.rawRead = append(b.rawRead, took.Seconds())
		say("  load of %d sites: ours %s s, raw %s s", b.sites, number(b.loaded[i]), number(b.rawRead[i]))
	}
	return nil
}

func (e *etcd) rawLoad(ctx context.Context, prefix string) (count int, err error) {
	r, err := e.raw(prefix)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return r.readAll(ctx)
}

// measureMemory compares the heap before and after a store has loaded.
func (e *etcd) measureMemory(ctx context.Context, b *bulk) (err error) {
	before := heap()
	store, err := e.open(ctx, bulkPrefix(b.sites), "b")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	b.memory = float64(heap()) - float64(before)
	runtime.KeepAlive(store)
	return nil
}

func (e *etcd) bulkRows(all []*bulk) []row {
	many := all[len(all)-1]
	timed := func(what, reference string, ours, theirs func(*bulk) []float64) row {
		r := row{Part: etcdPart, What: fmt.Sprintf("etcd: %s of %d sites", what, many.sites), Unit: "s", Ours: median(ours(many))}.
			against(reference, median(theirs(many)))
		r.Ratio = median(ratios(ours(many), theirs(many)))
		r.Growth = growth(e.size.counts, "s", func(i int) float64 { return median(ours(all[i])) }) + "; " + spread(ours(many))
		return r.ratioAtMost(3)
	}
	return []row{
		timed("restore", "raw puts", func(b *bulk) []float64 { return b.restored }, func(b *bulk) []float64 { return b.rawRestored }),
		timed("load", "raw range in pages", func(b *bulk) []float64 { return b.loaded }, func(b *bulk) []float64 { return b.rawRead }),
		{Part: etcdPart, What: fmt.Sprintf("etcd: memory of a replica of %d sites, for each", many.sites), Unit: "bytes",
			Ours:   many.memory / float64(many.sites),
			Growth: "all together " + growth(e.size.counts, "MB", func(i int) float64 { return all[i].memory / megabyte })},
	}
}

// heap returns what is reachable, in bytes.
func heap() uint64 {
	var m runtime.MemStats
	// The second one takes what the first one only found to have a finalizer, and what pools held.
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// measureFlat changes one site after the other, among few to many, in the states that were restored.
func (e *etcd) measureFlat(ctx context.Context) (err error) {
	var each []timed
	for _, count := range e.size.counts {
		store, openErr := e.openHealthy(ctx, bulkPrefix(count), "a")
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, store.close()) }()
		each = append(each, changeOne(store, count))
	}
	t, err := e.alternate(ctx, each...)
	if err != nil {
		return err
	}
	few, many := 0, len(each)-1
	r := t.row(many, few, fmt.Sprintf("etcd: one changed site among %d", e.size.counts[many]), fmt.Sprintf("%d sites", e.size.counts[few]))
	r.Growth = growth(e.size.counts, "ms", func(i int) float64 { return t.percentile(i, 50) }) + "; " + r.Growth
	e.add(r.ratioAtMost(1.2))
	return nil
}

// changeOne replaces the alias of a site, spread over all.
func changeOne(r *replica, count int) timed {
	return func(ctx context.Context, i int) (time.Duration, error) {
		domain := bulkDomain((i * 7919) % count) // 7919 is prime
		return stopwatch(func() error {
			_, err := r.Update(ctx, func(d *state.Draft) error {
				old, ok := d.Site(domain)
				if !ok {
					return fmt.Errorf("%s is missing", domain)
				}
				s := old.Clone()
				s.Aliases = []string{fmt.Sprintf("changed-%06d.example.test", i)}
				return d.Put(s)
			})
			return err
		})
	}
}
