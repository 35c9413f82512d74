package test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/etcdclient"
	"statiko/etcdstore"
	"statiko/state"
	"statiko/test/cluster"
	"statiko/test/etcdtest"
)

// replicas is a cluster's worth of stores in this process, each with a client, a connection and a lease of its own.
type replicas struct {
	stores   []*etcdstore.Store
	sessions sync.WaitGroup
}

// TestScaleOut measures what a cluster of many nodes costs: their replicas, in this process, follow one real etcd. The figures
// stand in docs/scaling.md; a replica that does not get a change, or lacks a site at the end, fails it.
func TestScaleOut(t *testing.T) {
	if !soak() {
		t.Skip("it takes minutes: STATIKO_SOAK=1 runs it")
	}
	for _, test := range []struct{ nodes, sites int }{{10, 10000}, {50, 10000}, {200, 10000}} {
		t.Run(fmt.Sprintf("%d nodes", test.nodes), func(t *testing.T) { scaleOut(t, test.nodes, test.sites) })
	}
}

func scaleOut(t *testing.T, nodes, sites int) {
	etcd := etcdtest.Start(t, etcdtest.Options{Durable: true})
	before := memory()
	began := time.Now()
	r := openReplicas(t, etcd, nodes)
	t.Logf("%d replicas of an empty state follow etcd after %s", nodes, since(began))

	ctx := context.Background()
	began = time.Now()
	sent, stored := etcd.Metric(t, sentBytes), etcd.Metric(t, usedBytes)
	_, err := r.stores[0].Restore(ctx, manySites(t, sites), 0)
	cluster.Must(t, err)
	restored, acknowledged := since(began), etcd.Metric(t, sentBytes)
	r.await(t, 5*time.Minute, func(s *state.Snapshot) bool { return s.Len(state.KindSite) == sites })
	t.Logf("%d sites restored in %s, and on all after %s; etcd sent %.1f MB to each node, %.1f of them after the restore was acknowledged, and keeps %.0f bytes for each site",
		sites, restored, since(began), (etcd.Metric(t, sentBytes)-sent)/1e6/float64(nodes), (etcd.Metric(t, sentBytes)-acknowledged)/1e6/float64(nodes), (etcd.Metric(t, usedBytes)-stored)/float64(sites))
	t.Logf("memory of this process for each replica: %.1f MB", float64(memory()-before)/1e6/float64(nodes))

	// One change at a time, and when each replica has it.
	const changes = 100
	sent = etcd.Metric(t, sentBytes)
	var first, last, commits []time.Duration
	for i := range changes {
		delays, commit := r.change(t, i)
		first, last, commits = append(first, slices.Min(delays)), append(last, slices.Max(delays)), append(commits, commit)
	}
	t.Logf("%d changes, one after the other: acknowledged p50 %s, on the first other replica p50 %s, on all p50 %s p99 %s; etcd sent %.0f bytes a change and replica",
		changes, part(commits, 50), part(first, 50), part(last, 50), part(last, 99), (etcd.Metric(t, sentBytes)-sent)/changes/float64(nodes))

	// As many as can be, through ten of them.
	const writers = 10
	began = time.Now()
	var made atomic.Int64
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := 0; time.Since(began) < 5*time.Second; i++ {
				domain := fmt.Sprintf("w%d-%d.example.org", w, i)
				if _, err := r.stores[w].Update(ctx, func(d *state.Draft) error { return d.Put(plain(domain)) }); err != nil {
					t.Errorf("%s: %v", domain, err)
					return
				}
				made.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	r.await(t, time.Minute, func(s *state.Snapshot) bool { return int64(s.Len(state.KindSite)) == int64(sites)+changes+made.Load() })
	t.Logf("%d writers: %.0f changes a second, all on all replicas %s after the last", writers, float64(made.Load())/took.Seconds(), (time.Since(began) - took).Round(time.Millisecond))

	// Nobody changes anything: what remains are leases.
	requests := func() float64 {
		return etcd.Metric(t, "grpc_server_msg_received_total")
	}
	asked, quiet := requests(), 10*time.Second
	puts := etcd.Metric(t, "etcd_mvcc_put_total")
	cluster.Until(time.Now().Add(quiet))
	t.Logf("quiet: %.1f messages a second to etcd, %.0f writes in %s", (requests()-asked)/quiet.Seconds(), etcd.Metric(t, "etcd_mvcc_put_total")-puts, quiet)

	// etcd is killed and comes back.
	m := etcd.Member(0)
	m.Kill()
	cluster.Must(t, cluster.Poll(time.Minute, "all notice", func() error { return r.healthy(false) }))
	m.Restart(t)
	etcd.AwaitReady(t)
	began = time.Now()
	cluster.Must(t, cluster.Poll(time.Minute, "all follow again", func() error { return r.healthy(true) }))
	t.Logf("etcd restarted: all replicas follow again %s after it answered", since(began))
	delays, _ := r.change(t, changes)
	t.Logf("a change then is on all after %s", slices.Max(delays).Round(time.Millisecond))
}

// Metrics of etcd: what it sent to clients, and how much of its database is in use.
const (
	sentBytes = "etcd_network_client_grpc_sent_bytes_total"
	usedBytes = "etcd_mvcc_db_total_size_in_use_in_bytes"
)

func since(began time.Time) time.Duration { return time.Since(began).Round(time.Millisecond) }

// part returns a percentile.
func part(all []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)].Round(10 * time.Microsecond)
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func plain(domain string) *state.Site {
	return &state.Site{Domain: domain, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

func manySites(t *testing.T, count int) *state.Document {
	t.Helper()
	var text strings.Builder
	text.WriteString(`{"sites":[`)
	for i := range count {
		if i > 0 {
			text.WriteString(",")
		}
		name := strconv.Itoa(i)
		text.WriteString(`{"domain":"s` + name + `.example.org","aliases":["www.s` + name + `.example.org"],"tls":{"type":"selfsigned"},"app":null}`)
	}
	text.WriteString(`],"secrets":{}}`)
	doc, err := state.ParseDocument([]byte(text.String()))
	cluster.Must(t, err)
	return doc
}

// openReplicas opens stores as nodes do, each with a session whose lease it keeps.
func openReplicas(t *testing.T, etcd *etcdtest.Cluster, nodes int) *replicas {
	t.Helper()
	r := &replicas{}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	for i := range nodes {
		client, err := etcdclient.Open(etcdclient.Options{Endpoints: etcd.Endpoints(), Timeout: 30 * time.Second})
		cluster.Must(t, err)
		sessions := etcdclient.NewSessions(client, etcdclient.SessionOptions{})
		r.sessions.Go(func() { _ = sessions.Run(ctx) })
		s, err := etcdstore.Open(etcdstore.Options{Client: client, NodeName: fmt.Sprintf("n%d", i), Prefix: "/scale"})
		cluster.Must(t, err)
		r.stores = append(r.stores, s)
		t.Cleanup(func() {
			_ = s.Close()
			stop()
			r.sessions.Wait()
			_ = client.Close()
		})
	}
	cluster.Must(t, cluster.Poll(2*time.Minute, "all follow etcd", func() error { return r.healthy(true) }))
	return r
}

func (r *replicas) healthy(want bool) error {
	count := 0
	for _, s := range r.stores {
		if s.Health().Healthy == want {
			count++
		}
	}
	if count != len(r.stores) {
		return fmt.Errorf("%d of %d do", count, len(r.stores))
	}
	return nil
}

// await waits until all replicas are so.
func (r *replicas) await(t *testing.T, timeout time.Duration, so func(*state.Snapshot) bool) {
	t.Helper()
	cluster.Must(t, cluster.Poll(timeout, "all replicas have it", func() error {
		count := 0
		for _, s := range r.stores {
			if so(s.Snapshot()) {
				count++
			}
		}
		if count != len(r.stores) {
			return fmt.Errorf("%d of %d have", count, len(r.stores))
		}
		return nil
	}))
}

// change adds a site through one replica, and returns when each of the others had it, and when it was acknowledged.
func (r *replicas) change(t *testing.T, number int) (delays []time.Duration, commit time.Duration) {
	t.Helper()
	domain := fmt.Sprintf("one-%d.example.org", number)
	by := number % len(r.stores)
	revision := r.stores[by].Snapshot().Revision()
	began := time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, s := range r.stores {
		if i == by {
			continue
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			for seen := revision; ; {
				now, err := s.Wait(ctx, seen)
				if err != nil {
					t.Errorf("replica %d lacks %s: %v", i, domain, err)
					return
				}
				if _, ok := now.Site(domain); ok {
					break
				}
				seen = now.Revision()
			}
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			delays = append(delays, took)
		})
	}
	_, err := r.stores[by].Update(context.Background(), func(d *state.Draft) error { return d.Put(plain(domain)) })
	cluster.Must(t, err)
	commit = time.Since(began)
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return delays, commit
}
