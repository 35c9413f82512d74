package test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/test/cluster"
)

// visitedSite is the site that is asked for through load balancers.
const visitedSite = "visited.example.org"

// span is a time.
type span struct{ from, to time.Time }

// visitors ask for a page again and again through a load balancer, each in another way.
type visitors struct {
	name   string
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu       sync.Mutex
	answered int
	failed   []failedVisit
}

// failedVisit is a request that was not answered as it should.
type failedVisit struct {
	span
	how string
	err error
}

// visitThrough asks through the balancer until it is stopped: over HTTP/1.1 and HTTP/2, over connections that are kept
// and over new ones.
func visitThrough(t testing.TB, b *balancer) *visitors {
	ctx, cancel := context.WithCancel(context.Background())
	v := &visitors{name: b.name, cancel: cancel}
	for _, how := range []string{"HTTP/1.1 kept", "HTTP/1.1 new", "HTTP/2 kept", "HTTP/2 new"} {
		v.all.Go(func() { v.visit(ctx, b, how) })
	}
	t.Cleanup(v.stop)
	return v
}

func (v *visitors) stop() {
	v.cancel()
	v.all.Wait()
}

func (v *visitors) visit(ctx context.Context, b *balancer, how string) {
	client := func() *http.Client {
		tr := &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", b.https))
			},
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: strings.HasPrefix(how, "HTTP/2"),
		}
		if !tr.ForceAttemptHTTP2 {
			tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		return &http.Client{Transport: tr, Timeout: 20 * time.Second}
	}
	kept := client()
	defer kept.CloseIdleConnections()
	every := 50 * time.Millisecond
	if soak() {
		every = 5 * time.Millisecond
	}
	pause := time.NewTicker(every)
	defer pause.Stop()
	for ctx.Err() == nil {
		c := kept
		if strings.HasSuffix(how, "new") {
			c = client()
		}
		began := time.Now()
		err := ask(c)
		v.mu.Lock()
		if err == nil {
			v.answered++
		} else {
			v.failed = append(v.failed, failedVisit{span{began, time.Now()}, how, err})
		}
		v.mu.Unlock()
		if c != kept {
			c.CloseIdleConnections()
		}
		<-pause.C
	}
}

func ask(c *http.Client) error {
	resp, err := c.Get("https://" + visitedSite + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || len(body) == 0) {
		err = fmt.Errorf("status %d, %d bytes", resp.StatusCode, len(body))
	}
	return err
}

// more waits until so many more requests were answered.
func (v *visitors) more(count int) error {
	now := func() int {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.answered
	}
	until := now() + count
	return cluster.Poll(cluster.StartTimeout, "visitors are answered through "+v.name, func() error {
		if n := now(); n < until {
			return fmt.Errorf("%d more are missing", until-n)
		}
		return nil
	})
}

// judge says what failed that should not have: a request that was under way when a node was killed may fail; if the
// balancer does not know that a node stops, so may one in a hundred of those in that time.
func (v *visitors) judge(t testing.TB, kill span, stops []span, knows bool) {
	t.Helper()
	inFlight, atStop := 0, 0
	for _, f := range v.failed {
		if !f.from.After(kill.to) && !f.to.Before(kill.from) {
			inFlight++
			continue
		}
		stopping := false
		for _, s := range stops {
			stopping = stopping || !f.from.After(s.to) && !f.to.Before(s.from)
		}
		if stopping && !knows {
			atStop++
			continue
		}
		t.Errorf("%s, %s: %s after the kill, for %s: %v", v.name, f.how, f.from.Sub(kill.from).Round(time.Millisecond),
			f.to.Sub(f.from).Round(time.Millisecond), f.err)
	}
	t.Logf("%s: %d requests answered, %d in flight on the killed node failed, %d as a node stopped", v.name, v.answered, inFlight, atStop)
	if atStop > 1+v.answered/100 {
		t.Errorf("%s: %d requests failed as nodes stopped", v.name, atStop)
	}
}
