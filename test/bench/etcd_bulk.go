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

// measureBulk restores and loads many sites, beside puts and reads of the same keys.
func (e *etcd) measureBulk(ctx context.Context) error {
	if err := e.measureRestore(ctx); err != nil {
		return err
	}
	if err := e.measureLoad(ctx); err != nil {
		return err
	}
	return e.measureMemory(ctx)
}

func (e *etcd) measureRestore(ctx context.Context) (err error) {
	doc, err := document(e.size.many)
	if err != nil {
		return err
	}
	a, err := e.openHealthy(ctx, manyPrefix, "a")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	var ours, theirs []float64
	for i := range e.size.bulks {
		took, err := stopwatch(func() error { return a.restore(ctx, doc) })
		if err != nil {
			return err
		}
		ours = append(ours, took.Seconds())
		if took, err = e.rawRestore(ctx, fmt.Sprintf("/many-them-%02d", i), doc); err != nil {
			return err
		}
		theirs = append(theirs, took.Seconds())
		say("  restore: ours %s s, raw %s s", number(ours[i]), number(theirs[i]))
	}
	e.add(e.bulkRow("restore", "raw puts", ours, theirs))
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

func (e *etcd) measureLoad(ctx context.Context) error {
	var ours, theirs []float64
	for i := range e.size.bulks {
		var store *replica
		took, err := stopwatch(func() (err error) { store, err = e.open(ctx, manyPrefix, "b"); return err })
		if err != nil {
			return err
		}
		sites := store.Snapshot().Len(state.KindSite)
		if err := store.close(); err != nil {
			return err
		}
		if sites != e.size.many {
			return fmt.Errorf("loaded %d sites of %d", sites, e.size.many)
		}
		ours = append(ours, took.Seconds())
		count := 0
		if took, err = stopwatch(func() (err error) { count, err = e.rawLoad(ctx, fmt.Sprintf("/many-them-%02d", i)); return err }); err != nil {
			return err
		}
		if count != 3*sites { // The site and its two names.
			return fmt.Errorf("the raw client read %d keys of %d", count, 3*sites)
		}
		theirs = append(theirs, took.Seconds())
		say("  load: ours %s s, raw %s s", number(ours[i]), number(theirs[i]))
	}
	e.add(e.bulkRow("load", "raw range in pages", ours, theirs))
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

func (e *etcd) bulkRow(what, reference string, ours, theirs []float64) row {
	r := row{Part: etcdPart, What: fmt.Sprintf("etcd: %s of %d sites", what, e.size.many), Unit: "s", Ours: median(ours), Growth: spread(ours)}.
		against(reference, median(theirs))
	r.Ratio = median(ratios(ours, theirs))
	return r.ratioAtMost(3)
}

// measureMemory compares the heap before and after a store has loaded.
func (e *etcd) measureMemory(ctx context.Context) (err error) {
	before := heap()
	store, err := e.open(ctx, manyPrefix, "b")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	grown := float64(heap()) - float64(before)
	runtime.KeepAlive(store)
	e.add(row{Part: etcdPart, What: fmt.Sprintf("etcd: memory of a replica of %d sites, for each", e.size.many), Unit: "bytes",
		Ours: grown / float64(e.size.many), Growth: fmt.Sprintf("all together %s MB", number(grown/1e6))})
	return nil
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

// measureFlat changes one site after the other, among many and among few.
func (e *etcd) measureFlat(ctx context.Context) (err error) {
	many, err := e.openHealthy(ctx, manyPrefix, "a")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, many.close()) }()
	few, err := e.openHealthy(ctx, fewPrefix, "a")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, few.close()) }()
	doc, err := document(e.size.few)
	if err != nil {
		return err
	}
	if err := few.restore(ctx, doc); err != nil {
		return err
	}
	t, err := e.alternate(ctx, changeOne(many, e.size.many), changeOne(few, e.size.few))
	if err != nil {
		return err
	}
	e.add(t.row(fmt.Sprintf("etcd: one changed site among %d", e.size.many), fmt.Sprintf("%d sites", e.size.few)).ratioAtMost(1.2))
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
