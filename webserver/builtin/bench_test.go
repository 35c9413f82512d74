package builtin

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"statiko/webserver"
)

// benchSites returns changes for n sites with a certificate each.
func benchSites(b testing.TB, n int) []webserver.Change {
	b.Helper()
	changes := make([]webserver.Change, n)
	for i := range changes {
		domain := fmt.Sprintf("site-%06d.example.test", i)
		alias := "www." + domain
		changes[i] = webserver.Change{Domain: domain, Site: &webserver.Site{
			Domain: domain, Aliases: []string{alias}, Certificate: newPair(b, domain, alias)}}
	}
	return changes
}

// BenchmarkApply/all makes 10,000 sites current in one call; /one is one more change among them.
func BenchmarkApply(b *testing.B) {
	const n = 10_000
	changes := benchSites(b, n)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			s, err := New(Options{})
			if err != nil {
				b.Fatal(err)
			}
			before := heap()
			if failed, err := s.Apply(b.Context(), changes); err != nil || len(failed) > 0 {
				b.Fatal(err, failed)
			}
			b.StopTimer()
			b.ReportMetric(float64(heap()-before)/n, "B/site")
			runtime.KeepAlive(s)
			b.StartTimer()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/site")
	})
	b.Run("one", func(b *testing.B) {
		s, err := New(Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Apply(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
		extra := benchSites(b, 2)
		extra[1].Domain, extra[1].Site.Domain, extra[1].Site.Aliases = extra[0].Domain, extra[0].Site.Domain, extra[0].Site.Aliases
		i := 0
		for b.Loop() {
			i++
			if failed, err := s.Apply(b.Context(), extra[i%2:i%2+1]); err != nil || len(failed) > 0 {
				b.Fatal(err, failed)
			}
		}
	})
}

// TestApply_MemoryOfASite is not parallel, so that nothing else allocates meanwhile.
func TestApply_MemoryOfASite(t *testing.T) {
	const n, limit = 1000, 10_000
	changes := benchSites(t, n)
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	if failed, err := s.Apply(t.Context(), changes); err != nil || len(failed) > 0 {
		t.Fatal(err, failed)
	}
	if each := (heap() - before) / n; each > limit {
		t.Errorf("%d bytes for each site, want at most %d", each, limit)
	}
	for i := range changes {
		changes[i].Site = nil
	}
	if failed, err := s.Apply(t.Context(), changes); err != nil || len(failed) > 0 {
		t.Fatal(err, failed)
	}
	if left := len(s.pairs) + s.table.Load().names.Len(); left != 0 {
		t.Errorf("%d pairs and names are left after all sites were removed", left)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkServe10k fetches a file of 10 kB over kept-alive TLS connections, one on each core, with a client that
// costs little.
func BenchmarkServe10k(b *testing.B) {
	s := start(b, Options{})
	site := stage(b, newSite(b, "bench.test"), map[string]string{"file.html": strings.Repeat("0123456789", 1000)})
	if failed, err := s.Apply(b.Context(), []webserver.Change{{Domain: site.Domain, Site: site}}); err != nil || len(failed) > 0 {
		b.Fatal(err, failed)
	}
	request := []byte("GET /file.html HTTP/1.1\r\nHost: bench.test\r\nAccept-Encoding: gzip, br\r\n\r\n")
	b.SetBytes(10_000)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		c, err := tls.Dial("tcp", s.opt.HTTPS[0].Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: site.Domain})
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		buf := make([]byte, 32<<10)
		for p.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			want, got := 0, 0
			for want == 0 || got < want {
				n, err := c.Read(buf[got:])
				if err != nil {
					b.Error(err)
					return
				}
				got += n
				if i := bytes.Index(buf[:got], []byte("\r\n\r\n")); want == 0 && i > 0 {
					want = i + 4 + 10_000
				}
			}
		}
	})
}

// BenchmarkHandle10k is the handler alone, without network and TLS.
func BenchmarkHandle10k(b *testing.B) {
	s, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	site := stage(b, newSite(b, "bench.test"), map[string]string{"file.html": strings.Repeat("0123456789", 1000)})
	changes := append(benchSites(b, 1000), webserver.Change{Domain: site.Domain, Site: site})
	if failed, err := s.Apply(b.Context(), changes); err != nil || len(failed) > 0 {
		b.Fatal(err, failed)
	}
	r, err := http.NewRequestWithContext(b.Context(), "GET", "https://bench.test/file.html", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.TLS, r.RequestURI = &tls.ConnectionState{ServerName: "bench.test"}, "/file.html"
	r.Header.Set("Accept-Encoding", "gzip, br")
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		s.secure.Handler.ServeHTTP(w, r)
	}
	if w.status != 200 || w.written == 0 {
		b.Fatalf("status %d, %d bytes", w.status, w.written)
	}
}

type discard struct {
	header  http.Header
	status  int
	written int64
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(s int)   { d.status = s }
func (d *discard) Write(p []byte) (int, error) {
	d.written += int64(len(p))
	return len(p), nil
}
