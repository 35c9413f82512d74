package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "as told", code) }
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func TestProber_WhatIsWell(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		// fault is part of what is told; "" for a site that is well.
		fault string
	}{
		{"page", nil, ""},
		{"created", status(http.StatusCreated), ""},
		{"missing", status(http.StatusNotFound), "answers with status 404"},
		{"broken", status(http.StatusInternalServerError), "answers with status 500"},
		{"empty", func(http.ResponseWriter, *http.Request) {}, "is empty"},
		{"no-content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "is empty"},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "does not answer"},
		{"within", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/start", http.StatusFound)
				return
			}
			fmt.Fprint(w, "start")
		}, ""},
		{"within-broken", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "https://within-broken.test:8443/start", http.StatusFound)
				return
			}
			http.NotFound(w, r)
		}, "answers with status 404"},
		{"by-http", func(w http.ResponseWriter, r *http.Request) {
			if r.TLS != nil {
				http.Redirect(w, r, "http://by-http.test/", http.StatusFound)
				return
			}
			fmt.Fprint(w, "plain")
		}, ""},
		{"circle", redirect("/"), "leads to more than 5 redirects"},
		{"elsewhere", redirect("https://other.example/"), ""},
		{"nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, "answers with status 302"},
	} {
		t.Run(c.name, func(t *testing.T) {
			domain := c.name + ".test"
			w.add(domain, c.answer)
			is := w.settled(domain)
			if is.Healthy != (c.fault == "") || !strings.Contains(is.Err, c.fault) || time.Since(is.Time) > time.Minute {
				t.Errorf("%+v, want %q", is, c.fault)
			}
		})
	}
	if n := w.visited("other.example"); n != 0 {
		t.Errorf("a redirect to another host was followed %d times", n)
	}
}

func TestProber_AnotherCertificateThanTheSitesIsAFault(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	w.add("a.test", nil, "www.a.test")
	w.add("b.test", nil)
	if is := w.settled("a.test"); !is.Healthy {
		t.Fatalf("%+v", is)
	}
	w.set(func() { w.pairs["a.test"] = w.pairs["b.test"] })
	w.prober.Probe(t.Context(), "")
	if is := w.prober.Site("a.test"); is.Healthy || is.Err != errCertificate.Error() {
		t.Errorf("%+v", is)
	}
	if is := w.prober.Site("b.test"); !is.Healthy {
		t.Errorf("%+v", is)
	}
}

// A site that was well, or of which nothing is known, is visited twice before it counts as failing; one that fails
// once is not told of.
func TestProber_OneFailureIsNone(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	bad := 1
	answer := func(rw http.ResponseWriter, r *http.Request) {
		failing := false
		w.set(func() {
			if failing = bad > 0; failing {
				bad--
			}
		})
		if failing {
			status(http.StatusBadGateway)(rw, r)
			return
		}
		fmt.Fprint(rw, "welcome")
	}
	w.add("a.test", answer)
	if is := w.settled("a.test"); !is.Healthy || w.visited("a.test") != 2 {
		t.Errorf("%+v after %d visits, want well after 2", is, w.visited("a.test"))
	}
	w.set(func() { bad = 1000 })
	w.prober.Probe(t.Context(), "")
	if is := w.prober.Site("a.test"); is.Healthy || w.visited("a.test") != 4 {
		t.Errorf("%+v after %d visits, want ill after 4", is, w.visited("a.test"))
	}
	w.prober.Probe(t.Context(), "") // known to fail: once is enough
	if n := w.visited("a.test"); n != 5 {
		t.Errorf("%d visits, want 5", n)
	}
}

// What was found counts until it is visited again; a failing site is, by itself, and soon.
func TestProber_FailingSitesAreVisitedAgainSoonOthersAreNot(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Every = 2 * time.Minute })
	w.run()
	w.add("well.test", nil)
	w.add("ill.test", status(http.StatusInternalServerError))
	if is := w.settled("ill.test"); is.Healthy {
		t.Fatalf("%+v", is)
	}
	w.answerWith("ill.test", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "well again") })
	w.eventually(func() error {
		if is := w.prober.Site("ill.test"); !is.Healthy {
			return fmt.Errorf("%+v", is)
		}
		return nil
	})
	if n := w.visited("well.test"); n != 1 {
		t.Errorf("a site that was well was visited %d times", n)
	}
}

// Every site is visited again within the time that a result counts, and not all of them at once.
func TestProber_VisitsAreSpread(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Every = 5 * time.Minute })
	due := map[time.Duration]int{}
	for range 1000 {
		first, later := w.prober.spread(true), w.prober.spread(false)
		if first < 30*time.Second || first > 5*time.Minute || later < 4*time.Minute || later > 5*time.Minute {
			t.Fatalf("visited again after %s, and %s", first, later)
		}
		due[first.Round(time.Minute)]++
	}
	if len(due) < 4 {
		t.Errorf("all at once: %v", due)
	}
}

func TestProber_RoutineVisitsFindWhatNobodyChanged(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Every = time.Second })
	w.run()
	w.add("a.test", nil)
	if is := w.settled("a.test"); !is.Healthy {
		t.Fatalf("%+v", is)
	}
	w.answerWith("a.test", status(http.StatusNotFound))
	w.eventually(func() error {
		if is := w.prober.Site("a.test"); is.Healthy {
			return fmt.Errorf("%+v", is)
		}
		return nil
	})
}

// A site that is not told of as changed, because that was lost, is found all the same; one that is gone is forgotten.
func TestProber_MissedChangesAreFound(t *testing.T) {
	w := newWorld(t, nil)
	w.add("a.test", status(http.StatusNotFound))
	w.prober.pending, w.prober.urgent = map[string]bool{}, nil // the change is lost
	w.run()
	w.eventually(func() error {
		if is := w.prober.Site("a.test"); is.Healthy {
			return fmt.Errorf("%+v", is)
		}
		return nil
	})
	w.set(func() { delete(w.applied, "a.test") })
	w.prober.Changed([]string{"a.test"})
	w.settled("a.test")
	w.prober.mu.Lock()
	defer w.prober.mu.Unlock()
	if len(w.prober.sites) != 0 {
		t.Errorf("still known: %v", w.prober.sites)
	}
}

// Whoever sees that nothing is pending sees the result of the visit after the change; what was found before it no
// longer counts.
func TestProber_ResultsAreOfWhatIsServedNow(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	visiting, goOn := make(chan struct{}, 10), make(chan struct{})
	w.add("a.test", func(rw http.ResponseWriter, _ *http.Request) {
		visiting <- struct{}{}
		<-goOn
		http.Error(rw, "old", http.StatusInternalServerError)
	})
	<-visiting
	w.add("a.test", nil) // while it is being visited
	close(goOn)
	if is := w.settled("a.test"); !is.Healthy {
		t.Errorf("%+v", is)
	}
}

// One site that changes is not kept waiting by thousands that changed before it.
func TestProber_FewGoBeforeMany(t *testing.T) {
	w := newWorld(t, nil)
	w.add("a.test", nil)
	w.prober.pending, w.prober.urgent = map[string]bool{}, nil
	var many []string
	for i := range 5 * fewSites {
		many = append(many, fmt.Sprintf("s%d.test", i))
	}
	w.prober.Changed(append(many, "a.test"))
	w.prober.Changed([]string{"a.test"})
	w.prober.Changed([]string{"a.test"})
	if d, ok := w.prober.take(); !ok || d != "a.test" {
		t.Fatalf("first is %q", d)
	}
	w.prober.done("a.test")
	for range many {
		d, ok := w.prober.take()
		if !ok || d == "a.test" {
			t.Fatalf("then %q, %t", d, ok)
		}
		w.prober.done(d)
	}
	if d, ok := w.prober.take(); ok || w.prober.Pending() {
		t.Errorf("at last %q; pending: %t", d, w.prober.Pending())
	}
}

// Whoever asks about one site does not wait for the others.
func TestProber_OneSiteIsVisitedForWhoAsks(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	hang := make(chan struct{})
	for i := range parallel - 1 {
		w.add(fmt.Sprintf("slow%d.test", i), func(http.ResponseWriter, *http.Request) { <-hang })
	}
	defer close(hang)
	w.add("a.test", nil)
	w.eventually(func() error {
		if n := w.visited("a.test"); n != 1 {
			return fmt.Errorf("visited %d times", n)
		}
		return nil
	})
	w.answerWith("a.test", status(http.StatusTeapot))
	w.prober.Probe(t.Context(), "a.test")
	if is := w.prober.Site("a.test"); is.Healthy {
		t.Errorf("%+v", is)
	}
}

// A change that cannot be visited for long does not count as work in progress for ever.
func TestProber_PendingHasAnEnd(t *testing.T) {
	now := time.Now()
	w := newWorld(t, func(o *Options) { o.Now = func() time.Time { return now } })
	w.add("a.test", nil)
	if !w.prober.Pending() {
		t.Error("a change is not pending")
	}
	now = now.Add(patience)
	if w.prober.Pending() {
		t.Error("a change is pending for ever")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.prober.Probe(ctx, "") // nobody visits: it ends with ctx
}

// A server that accepts and never answers, or breaks off, costs neither descriptors nor goroutines (goleak).
func TestProber_LeaksNothing(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	w.run()
	hang := make(chan struct{})
	defer close(hang)
	w.add("a.test", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-hang:
		}
	})
	w.add("b.test", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	w.add("c.test", func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(rw, strings.Repeat("x", 1<<16))
	})
	is := w.settled("a.test")
	if is.Healthy || !strings.Contains(is.Err, "does not answer within 100ms") {
		t.Errorf("%+v", is)
	}
	before := descriptors(t)
	for range 20 {
		w.prober.Probe(t.Context(), "")
	}
	w.eventually(func() error { // the server's own end of the last ones
		if after := descriptors(t); after > before+6 {
			return fmt.Errorf("%d descriptors before, %d after 60 visits", before, after)
		}
		return nil
	})
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	return len(list)
}

// Each of many sites that change at once is visited once.
func TestProber_ManySites(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	count := 150
	if os.Getenv("STATIKO_SOAK") == "1" {
		count = 10_000
	}
	w.add("a.test", nil)
	pair, applied := w.pairs["a.test"], w.applied["a.test"]
	applied.PairRevision = 0 // they share a certificate, which so is not compared
	var domains []string
	w.set(func() {
		for i := range count {
			d := fmt.Sprintf("s%d.test", i)
			domains = append(domains, d)
			w.pairs[d], w.applied[d], w.answers[d] = pair, applied, w.answers["a.test"]
		}
	})
	w.putSites(domains)
	began := time.Now()
	w.prober.Changed(domains)
	for left := count; left > 0; { // eventually fails only if nothing happens for long
		w.eventually(func() error {
			w.prober.mu.Lock()
			defer w.prober.mu.Unlock()
			if len(w.prober.pending) == left {
				return fmt.Errorf("%d are left", left)
			}
			left = len(w.prober.pending)
			return nil
		})
	}
	for _, d := range domains {
		if n := w.visited(d); n != 1 {
			t.Fatalf("%s was visited %d times", d, n)
		}
	}
	t.Logf("%d sites visited in %s", count, time.Since(began).Round(time.Millisecond))
}

func TestReach(t *testing.T) {
	l, err := tls.Listen("tcp", ":0", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := reach(l.Addr()); len(got) != 2 || !strings.HasPrefix(got[0], "127.0.0.1:") || !strings.HasPrefix(got[1], "[::1]:") {
		t.Errorf("a server on all addresses is visited at %s", got)
	}
	one := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 443}
	if got := reach(one); len(got) != 1 || got[0] != "127.0.0.2:443" {
		t.Errorf("a server on one address is visited at %s", got)
	}
	six, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	defer six.Close()
	port := six.Addr().(*net.TCPAddr).Port
	conn, err := dialFirst(t.Context(), &net.Dialer{}, reach(&net.TCPAddr{IP: net.IPv6zero, Port: port}))
	if err != nil {
		t.Fatalf("a server that only IPv6 reaches: %v", err)
	}
	_ = conn.Close()
}
