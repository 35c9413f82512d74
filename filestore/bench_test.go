package filestore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"statiko/state"
)

func documentOf(t testing.TB, sites int) *state.Document {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"sites":[`)
	for i := range sites {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"domain":"n%d.test","aliases":["www.n%d.test"],"tls":{"type":"selfsigned"},"app":{"name":"app-1"}}`, i, i)
	}
	b.WriteString(`]}`)
	doc, err := state.ParseDocument([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// BenchmarkCommit is one change from call to acknowledgement, by one writer: mostly the fsync.
func BenchmarkCommit(b *testing.B) {
	for _, sites := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d sites", sites), func(b *testing.B) {
			s := open(b, Options{Path: newPath(b)})
			if _, err := s.Restore(context.Background(), documentOf(b, sites), 0); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				if _, err := tryPut(s, siteOf(fmt.Sprintf("n%d.test", i%sites), fmt.Sprintf("x%d.test", i))); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs/p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs/p99")
		})
	}
}

// BenchmarkCommit64Writers shows what sharing fsyncs brings.
func BenchmarkCommit64Writers(b *testing.B) {
	s := open(b, Options{Path: newPath(b)})
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := tryPut(s, siteOf(fmt.Sprintf("n%d.test", n.Add(1)))); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	for _, sites := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d sites", sites), func(b *testing.B) {
			path := newPath(b)
			s := open(b, Options{Path: path})
			if _, err := s.Restore(context.Background(), documentOf(b, sites), 0); err != nil {
				b.Fatal(err)
			}
			s.Close()
			for b.Loop() {
				s, err := Open(Options{Path: path})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}
