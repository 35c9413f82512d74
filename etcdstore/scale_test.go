package etcdstore

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"statiko/state"
	"statiko/test/etcdtest"
)

// A hundred thousand sites: times and memory, beside the raw client on the same server.
func TestScale_HundredThousandSites(t *testing.T) {
	if !soak() {
		t.Skip("set STATIKO_SOAK=1")
	}
	const n = 100_000
	c := etcdtest.Start(t, etcdtest.Options{Durable: true, Flags: []string{"--quota-backend-bytes=4294967296"}})
	etcd, ctx := c.Client(t), context.Background()
	nodes := []*Store{openOn(t, c.Endpoints(), Options{Prefix: "/s"}), openOn(t, c.Endpoints(), Options{Prefix: "/s", NodeName: "second"})}
	doc := document(t, manySites("n", n)...)

	began := time.Now()
	revision, err := nodes[0].Restore(ctx, doc, 0)
	if err != nil {
		t.Fatal(err)
	}
	restored := time.Since(began)
	if s, err := nodes[1].Wait(ctx, revision-1); err != nil || s.Len(state.KindSite) != n {
		t.Fatalf("%v, %v", s, err)
	}
	t.Logf("restore: %v; on the other node after %v", restored, time.Since(began))

	began = time.Now()
	rawPut(t, etcd, doc)
	raw := time.Since(began)
	t.Logf("raw puts of the same bytes in batches: %v; the restore is %.2f times that", raw, restored.Seconds()/raw.Seconds())

	began = time.Now()
	r, err := etcd.Get(ctx, "/raw/", clientv3.WithPrefix())
	if err != nil || len(r.Kvs) != 3*n {
		t.Fatal(err)
	}
	raw = time.Since(began)
	r = nil
	before := heap()
	began = time.Now()
	third := openOn(t, c.Endpoints(), Options{Prefix: "/s", NodeName: "third"})
	loaded := time.Since(began)
	t.Logf("load: %v; a raw range: %v, %.2f times that; %.0f bytes of memory a site", loaded, raw, loaded.Seconds()/raw.Seconds(), float64(heap()-before)/n)
	if third.Snapshot().Len(state.KindSite) != n {
		t.Fatal("sites are missing")
	}

	// One change among many, beside a raw put.
	var puts, updates, visible []time.Duration
	for i := range 300 {
		began = time.Now()
		putRaw(t, etcd, "/raw/one", fmt.Sprint(i))
		puts = append(puts, time.Since(began))
		began = time.Now()
		revision := mustPut(t, nodes[0], site(fmt.Sprintf("n-%06d.test", i), fmt.Sprintf("new%d.test", i)))
		updates = append(updates, time.Since(began))
		if _, err := nodes[1].Wait(ctx, revision-1); err != nil {
			t.Fatal(err)
		}
		visible = append(visible, time.Since(began))
	}
	t.Logf("p50: raw put %v, update %v, update until the other node has it %v", p50(puts), p50(updates), p50(visible))

	// Sweeping beside a writer, and restores one after another.
	fence, end := newTerm(t, etcd, "/s/leader", false)
	defer end()
	for round := range 3 {
		revision, err := nodes[round%2].Restore(ctx, doc, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range append(nodes, third) {
			if _, err := node.Wait(ctx, revision-1); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			swept, err := nodes[0].Sweep(ctx, fence)
			if err != nil {
				t.Error(err)
			}
			t.Logf("swept %d keys", swept)
		}()
		var waits []time.Duration
		for i := 0; ; i++ {
			began = time.Now()
			putRaw(t, etcd, "/raw/one", fmt.Sprint(i))
			waits = append(waits, time.Since(began))
			select {
			case <-ended:
			default:
				continue
			}
			break
		}
		compact(t, etcd)
		st, err := etcd.Status(ctx, c.Endpoints()[0])
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(waits)
		t.Logf("round %d: while sweeping, %d puts waited p50 %v, p99 %v, at most %v; etcd has %d MiB, %d in use", round, len(waits), p50(waits),
			waits[len(waits)*99/100], waits[len(waits)-1], st.DbSize>>20, st.DbSizeInUse>>20)
	}
}

func p50(d []time.Duration) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2]
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// rawPut writes what a restore writes, as fast as the client can.
func rawPut(t *testing.T, etcd *clientv3.Client, doc *state.Document) {
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(chunksAtOnce)
	var ops []clientv3.Op
	send := func() {
		batch := ops
		ops = nil
		g.Go(func() error { _, err := etcd.Txn(ctx).Then(batch...).Commit(); return err })
	}
	for o := range doc.All() {
		data, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		s := o.(*state.Site)
		ops = append(ops, clientv3.OpPut("/raw/sites/"+s.Domain, string(data)))
		for _, name := range s.Names() {
			ops = append(ops, clientv3.OpPut("/raw/names/"+name, `"`+s.Domain+`"`))
		}
		if len(ops) >= chunkKeys {
			send()
		}
	}
	send()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}
