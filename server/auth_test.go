package server

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"statiko/api"
)

func TestAuthorization_Forms(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	for value, status := range map[string]int{
		testPSK: 200, "Bearer " + testPSK: 200, "  " + testPSK + "\t": 200,
		"bearer " + testPSK: 401, "Bearer  " + testPSK: 401, "Basic " + testPSK: 401,
		testPSK + "x": 401, testPSK[1:]: 401, "Bearer": 401, "": 401,
	} {
		a := n.do(request{method: "GET", path: "/site", anonymous: true, header: map[string]string{"Authorization": value}})
		if a.status != status {
			t.Errorf("Authorization %q: status %d, want %d", value, a.status, status)
		}
		n.get("/site").want(200) // forgives
	}
}

func TestAuthorization_NoMethodRefusesEverybody(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *Options) { o.PSK = "" })
	for _, value := range []string{"", "Bearer ", "Bearer", "x"} {
		n.do(request{method: "GET", path: "/site", anonymous: true, header: map[string]string{"Authorization": value}}).fails(api.CodeUnauthorized)
	}
	n.do(request{method: "GET", path: "/info", anonymous: true}).want(200).
		same(`{"authMethods":[],"version":"v1 (test)","hostname":"edge-1"}`)
}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestW53_GuessingIsSlow(t *testing.T) {
	t.Parallel()
	at := &clock{now: time.Now()}
	n := start(t, func(o *Options) { o.Now = at.Now })
	guess := func(path string) *answer {
		return n.do(request{method: "GET", path: path, anonymous: true, header: map[string]string{"Authorization": "guess"}})
	}
	for range attemptBurst - 1 {
		guess("/site").fails(api.CodeUnauthorized)
	}
	guess("/status").want(200) // a failed attempt, though the route answers
	a := guess("/site")
	a.fails(api.CodeTooMany)
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 || s > 2 {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	// Even the right key is not looked at, and /status shows nothing.
	n.get("/site").fails(api.CodeTooMany)
	n.get("/status").want(200)
	// No Authorization at all is no attempt.
	n.do(request{method: "GET", path: "/site", anonymous: true}).fails(api.CodeUnauthorized)

	at.forward(attemptInterval)
	guess("/site").fails(api.CodeUnauthorized)
	guess("/site").fails(api.CodeTooMany)
	at.forward(attemptInterval)
	n.get("/site").want(200)
	for range attemptBurst { // all is forgiven
		guess("/site").fails(api.CodeUnauthorized)
	}
}

func TestAttempts_ManyAtOnceAreCountedOneByOne(t *testing.T) {
	t.Parallel()
	a := newAttempts(time.Now)
	var checked sync.Map
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			a.try("client", func() bool { checked.Store(i, true); return false })
		})
	}
	all.Wait()
	n := 0
	checked.Range(func(any, any) bool { n++; return true })
	if n < attemptBurst || n > attemptBurst+1 {
		t.Errorf("%d of 200 guesses were compared, want %d", n, attemptBurst)
	}
}

func TestAttempts_MemoryIsBounded(t *testing.T) {
	t.Parallel()
	a := newAttempts(time.Now)
	for i := range maxClients + 500 {
		a.try(fmt.Sprint(i), func() bool { return false })
	}
	if len(a.clients) != maxClients || a.recent.Len() != maxClients {
		t.Errorf("%d clients are kept, %d in order", len(a.clients), a.recent.Len())
	}
	a.try(fmt.Sprint(maxClients), func() bool { return true })
	if len(a.clients) != maxClients-1 {
		t.Errorf("a success did not forget the client")
	}
}

func TestClientOf_OneMachineIsOneClient(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[::ffff:192.0.2.1]:99": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "@": "@",
	} {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}}
		if got := clientOf(r); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
