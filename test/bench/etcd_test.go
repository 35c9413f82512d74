package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/etcdtest"
)

var tinyEtcd = etcdSizes{turns: 4, rounds: 2, writers: []int{1, 3}, round: 50 * time.Millisecond, counts: []int{3, 20, 250}, bulks: 2, certified: 5}

func TestMeasureEtcd_FillsEveryRow(t *testing.T) {
	t.Parallel()
	b := &bench{size: sizes{etcd: tinyEtcd}, dir: t.TempDir()}
	if err := measureEtcd(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.rows {
		if r.Part != etcdPart {
			t.Errorf("%s is in part %q", r.What, r.Part)
		}
		// So few sites take less memory than what varies anyway.
		if memory := strings.Contains(r.What, "memory"); !memory && (r.Ours <= 0 || r.Reference <= 0 || r.Ratio <= 0) {
			t.Errorf("%s: %v %s, reference %v, ratio %v", r.What, r.Ours, r.Unit, r.Reference, r.Ratio)
		}
	}
	for _, what := range []string{"restore", "load", "memory", "one changed site"} {
		if !slices.ContainsFunc(b.rows, func(r row) bool {
			return strings.HasPrefix(r.What, "etcd: "+what) && strings.Contains(r.Growth, "3: ") && strings.Contains(r.Growth, ", 250: ")
		}) {
			t.Errorf("no row says how %s grows: %+v", what, b.rows)
		}
	}
	if len(b.rows) != 9 {
		t.Errorf("%d rows: %+v", len(b.rows), b.rows)
	}
}

func TestMeasureNodes_ARealClusterFillsEveryRow(t *testing.T) {
	b := newBench(t)
	b.size.etcd, b.only = tinyEtcd, map[string]bool{nodesPart: true}
	if err := b.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.rows {
		if r.Part != nodesPart || r.Ours <= 0 {
			t.Errorf("%s (part %s): measured %v %s", r.What, r.Part, r.Ours, r.Unit)
		}
	}
	if len(b.rows) != 2 {
		t.Errorf("%d rows: %+v", len(b.rows), b.rows)
	}
}

// newEtcd starts a server of the test's.
func newEtcd(t *testing.T) *etcd {
	t.Helper()
	return &etcd{bench: &bench{}, size: tinyEtcd, endpoints: etcdtest.Start(t, etcdtest.Options{}).Endpoints()}
}

func opened[T any](t *testing.T, end func(T) error) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := end(v); err != nil {
				t.Error(err)
			}
		})
		return v
	}
}

// A comparison is worth nothing if the other side does less work.
func TestRaw_WritesTheKeysAndBytesThatTheStoreWrites(t *testing.T) {
	t.Parallel()
	e := newEtcd(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	store := opened(t, (*replica).close)(e.openHealthy(ctx, singlePrefix, rawNode))
	them := opened(t, (*raw).close)(e.raw(singleRaw))
	if err := them.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	watch := func(prefix string) clientv3.WatchChan {
		events := them.kv.Watch(ctx, prefix+"/v1/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		if first := <-events; !first.Created {
			t.Fatalf("the watch begins with %+v", first)
		}
		return events
	}
	ours, theirs := watch(singlePrefix), watch(singleRaw)
	if _, err := store.put(ctx, newSite("same", 1)); err != nil {
		t.Fatal(err)
	}
	if err := them.add(ctx, newSite("same", 1)); err != nil {
		t.Fatal(err)
	}
	written := func(events clientv3.WatchChan, prefix string) []pair {
		var pairs []pair
		for _, ev := range (<-events).Events {
			p := pair{strings.TrimPrefix(string(ev.Kv.Key), prefix), string(ev.Kv.Value)}
			if strings.Contains(p.key, "/ops/") {
				p.value = strings.Repeat("x", len(p.value)) // random
			}
			pairs = append(pairs, p)
		}
		slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
		return pairs
	}
	if a, b := written(ours, singlePrefix), written(theirs, singleRaw); !slices.Equal(a, b) || len(a) != 3 {
		t.Errorf("the store wrote %v, the raw client %v", a, b)
	}

	doc, err := document(7)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.restore(ctx, doc); err != nil {
		t.Fatal(err)
	}
	if _, err := e.rawRestore(ctx, "/many-them-00", doc); err != nil {
		t.Fatal(err)
	}
	held := func(prefix string) []pair {
		r, err := them.kv.Get(ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		var pairs []pair
		for _, kv := range r.Kvs {
			pairs = append(pairs, pair{strings.TrimPrefix(string(kv.Key), prefix), string(kv.Value)})
		}
		return pairs
	}
	if a, b := held(singlePrefix+"/v1/g/2/"), held("/many-them-00/v1/g/1/"); !slices.Equal(a, b) || len(a) != 21 {
		t.Errorf("the store restored %v, the raw client %v", a, b)
	}
}

func TestRaw_SaysWhenItsTransactionIsRefused(t *testing.T) {
	t.Parallel()
	e := newEtcd(t)
	them := opened(t, (*raw).close)(e.raw(singleRaw))
	if err := them.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := them.add(t.Context(), newSite("twice", 1)); err != nil {
		t.Fatal(err)
	}
	if err := them.add(t.Context(), newSite("twice", 1)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a site that exists was added: %v", err)
	}
}

func TestMeasureEtcd_EndsWhenCancelled(t *testing.T) {
	t.Parallel()
	b := &bench{size: sizes{etcd: fullSizes.etcd}, dir: t.TempDir(), only: map[string]bool{etcdPart: true}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	if err := b.measure(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want that of the context", err)
	}
	if took := time.Since(began); took > startTimeout {
		t.Errorf("it went on for %s", took)
	}
}

func TestAlternate_RatioOfEachRoundAndFirstTurnsNotCounted(t *testing.T) {
	t.Parallel()
	e := &etcd{size: etcdSizes{turns: 4, rounds: 2}}
	of := func(d ...time.Duration) timed {
		return func(_ context.Context, i int) (time.Duration, error) { return d[i] * time.Millisecond, nil }
	}
	got, err := e.alternate(t.Context(), of(999, 2, 2, 30, 30), of(1, 1, 1, 10, 10))
	if err != nil {
		t.Fatal(err)
	}
	r := got.row(0, 1, "x", "y")
	if r.Ratio != 2.5 || r.Ours != 2 || r.Reference != 1 {
		t.Errorf("ratio %v, ours %v, reference %v", r.Ratio, r.Ours, r.Reference)
	}
	broken := errors.New("broken")
	if _, err := e.alternate(t.Context(), of(1, 1, 1, 1, 1), func(context.Context, int) (time.Duration, error) { return 0, broken }); err != broken {
		t.Errorf("the error is %v", err)
	}
}

func TestAwait_SaysWhenNothingIsFollowedAnyMore(t *testing.T) {
	t.Parallel()
	arrivals := make(chan arrival, 1)
	arrivals <- arrival{revision: 3}
	close(arrivals)
	if _, err := await(t.Context(), arrivals, 4); err == nil {
		t.Error("revision 4 has not come, and no error")
	}
}
