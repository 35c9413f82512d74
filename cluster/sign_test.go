package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a clock that tests set.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

const selfID = "11111111-1111-4111-8111-111111111111"

func signed(t *testing.T, s *signer, method, url string, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sign(s.keys[0], r, []byte(body), "b", selfID); err != nil {
		t.Fatal(err)
	}
	return r
}

// Whatever is changed about a call that was signed, it is refused.
func TestVerify_RefusesWhatIsForged(t *testing.T) {
	t.Parallel()
	const url = "https://a.test/internal/v1/status?revision=1&wait=2"
	s := newSigner(time.Now, testKey)
	if from, err := s.verify(signed(t, s, "GET", url, "x"), []byte("x"), selfID); err != nil || from != "b" {
		t.Fatalf("a good call: %q, %v", from, err)
	}
	other := newSigner(time.Now, bytes.Repeat([]byte("k"), KeySize))
	replace := func(r *http.Request, old, new string) {
		h := r.Header.Get("Authorization")
		r.Header.Set("Authorization", strings.Replace(h, old, new, 1))
	}
	for name, change := range map[string]func(r *http.Request, body *string){
		"another key":    func(r *http.Request, _ *string) { *r = *signed(t, other, "GET", url, "x") },
		"another method": func(r *http.Request, _ *string) { r.Method = "POST" },
		"another path":   func(r *http.Request, _ *string) { r.URL.Path = "/internal/v1/other" },
		"another query":  func(r *http.Request, _ *string) { r.URL.RawQuery = "revision=1&wait=3" },
		"no query":       func(r *http.Request, _ *string) { r.URL.RawQuery = "" },
		"another body":   func(_ *http.Request, b *string) { *b = "y" },
		"no body":        func(_ *http.Request, b *string) { *b = "" },
		"no proof":       func(r *http.Request, _ *string) { r.Header.Del("Authorization") },
		"a key in place": func(r *http.Request, _ *string) { r.Header.Set("Authorization", "Bearer secret") },
		"no mac": func(r *http.Request, _ *string) {
			r.Header.Set("Authorization", strings.Split(r.Header.Get("Authorization"), ".")[0]+".")
		},
		"no dot":           func(r *http.Request, _ *string) { replace(r, ".", "") },
		"another claim":    func(r *http.Request, _ *string) { replace(r, scheme+"eyJ", scheme+"eyK") },
		"another scheme":   func(r *http.Request, _ *string) { replace(r, scheme, "STK-Edon ") },
		"mac is no base64": func(r *http.Request, _ *string) { replace(r, ".", ".!") },
		"for another node": func(r *http.Request, _ *string) { _ = s.sign(testKey, r, []byte("x"), "b", newUUID()) },
		"shortened mac": func(r *http.Request, _ *string) {
			h := r.Header.Get("Authorization")
			r.Header.Set("Authorization", h[:len(h)-4])
		},
		"appended to query": func(r *http.Request, _ *string) { r.URL.RawQuery += "&full=1" },
	} {
		r, body := signed(t, s, "GET", url, "x"), "x"
		change(r, &body)
		if from, err := s.verify(r, []byte(body), selfID); !errors.Is(err, ErrRefused) || from != "" {
			t.Errorf("%s: %q, %v", name, from, err)
		}
	}
}

func TestVerify_EachCallOnceAndInItsTime(t *testing.T) {
	t.Parallel()
	caller, callee := &clock{}, &clock{}
	from, to := newSigner(caller.now, testKey), newSigner(callee.now, testKey)
	verify := func(r *http.Request) error { _, err := to.verify(r, nil, selfID); return err }
	first := signed(t, from, "GET", "https://a.test/", "")
	if err := verify(first); err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{0, clockSkew / 2, clockSkew - time.Second, 2 * time.Second, clockSkew} {
		callee.forward(later)
		if err := verify(first); !errors.Is(err, ErrRefused) {
			t.Errorf("sent again %v later: %v", later, err)
		}
	}
	// Clocks may differ, by minutes, in both directions.
	for _, off := range []time.Duration{-clockSkew + time.Second, clockSkew - time.Second} {
		caller.offset, callee.offset = off, 0
		if err := verify(signed(t, from, "GET", "https://a.test/", "")); err != nil {
			t.Errorf("clocks %v apart: %v", off, err)
		}
	}
	for _, off := range []time.Duration{-clockSkew - time.Second, clockSkew + time.Second, 100 * 365 * 24 * time.Hour} {
		caller.offset = off
		if err := verify(signed(t, from, "GET", "https://a.test/", "")); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "clocks") {
			t.Errorf("clocks %v apart: %v", off, err)
		}
	}
	// One that comes from the future is remembered for as long as it is good.
	caller.offset, callee.offset = clockSkew-time.Second, 0
	future := signed(t, from, "GET", "https://a.test/", "")
	if err := verify(future); err != nil {
		t.Fatal(err)
	}
	callee.forward(2*clockSkew - 2*time.Second)
	if err := verify(future); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "before") {
		t.Errorf("from the future, again: %v", err)
	}
	// And nothing is remembered for ever.
	callee.forward(3 * clockSkew)
	if err := to.once("new", callee.now()); err != nil || len(to.nonces) != 1 || len(to.order) != 1 {
		t.Errorf("%v, %d nonces are remembered", err, len(to.nonces))
	}
}

func TestVerify_MemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := &clock{}
	s := newSigner(c.now, testKey)
	for i := range maxNonces {
		if err := s.once(fmt.Sprint(i), c.now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.once("one more", c.now()); !errors.Is(err, ErrRefused) {
		t.Errorf("one more: %v", err)
	}
	c.forward(2*clockSkew + time.Second)
	if err := s.once("one more", c.now()); err != nil {
		t.Errorf("later: %v", err)
	}
}

// Over real HTTPS: what a stranger, or a node of another cluster, gets.
func TestPeers_StrangersAreRefused(t *testing.T) {
	t.Parallel()
	_, a, b, _ := three(t)
	m, _ := a.cluster.member("b")
	ask := func(key []byte, m Member) error {
		p := newPeers(newSigner(time.Now, key), "a")
		defer p.close()
		_, err := p.ask(t.Context(), m, Query{})
		return err
	}
	if err := ask(testKey, m); err != nil {
		t.Fatal(err)
	}
	if err := ask(bytes.Repeat([]byte("k"), KeySize), m); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("another key: %v", err)
	}
	other := m
	other.InstanceID = newUUID()
	if err := ask(testKey, other); err == nil || !strings.Contains(err.Error(), "instance id") {
		t.Errorf("another instance: %v", err)
	}
	_, pin := newKey(t)
	other = m
	other.Pin = pin
	if err := ask(testKey, other); err == nil || !strings.Contains(err.Error(), "another key") || !strings.Contains(err.Error(), pin) {
		t.Errorf("another pin: %v", err)
	}
	for address, pin := range map[string]string{"https://" + strings.TrimPrefix(m.Address, "https://"): "", "http://x.test": m.Pin, "": m.Pin, "::": m.Pin, unused(t): m.Pin} {
		other.Address, other.Pin = address, pin
		if err := ask(testKey, other); err == nil {
			t.Errorf("%q with the pin %q was called", address, pin)
		}
	}
	// A call that was overheard is worth nothing, there or elsewhere.
	var heard *http.Request
	ear := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard = r.Clone(t.Context()) }))
	defer ear.Close()
	_ = ask(testKey, Member{Record: Record{InstanceID: b.id, Address: ear.URL}})
	for range 2 {
		r, err := http.NewRequest(heard.Method, b.api.URL+heard.URL.RequestURI(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = heard.Header
		c, err := newPeers(nil, "").client(*b.pin.Load())
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		c.CloseIdleConnections()
		want := http.StatusOK // the first time it is the call itself
		if heard.Header.Get("X-Again") != "" {
			want = http.StatusUnauthorized
		}
		if resp.StatusCode != want {
			t.Errorf("status %d: %s", resp.StatusCode, text)
		}
		heard.Header.Set("X-Again", "1")
	}
}

// Nodes are given a new encryption key one after the other, and understand each other all the time.
func TestPeers_ChangeOfTheKey(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	fresh := bytes.Repeat([]byte("n"), KeySize)
	before := startNode(t, etcd.Endpoints()[0], "before", newUUID(), nil)
	during := startNode(t, etcd.Endpoints()[0], "during", newUUID(), func(o *Options) { o.OldKeys = [][]byte{fresh} })
	after := startNode(t, etcd.Endpoints()[0], "after", newUUID(), func(o *Options) { o.Key, o.OldKeys = fresh, [][]byte{testKey} })
	other := startNode(t, etcd.Endpoints()[0], "other", newUUID(), func(o *Options) { o.Key = bytes.Repeat([]byte("o"), KeySize) })
	nodes := []*testNode{before, during, after}
	registered(t, append(nodes, other)...)
	for _, from := range nodes {
		eventually(t, patience, func() error {
			all := from.cluster.Statuses(t.Context())
			for _, to := range nodes {
				// What has only the old key cannot believe what has only the new one; here the new ones know both.
				if s := find(t, all, to.name); s.State != StateUp {
					return fmt.Errorf("%s sees %s as %s: %s", from.name, to.name, s.State, s.Reason)
				}
			}
			return nil
		})
		if s := find(t, from.cluster.Statuses(t.Context()), "other"); s.State != StateUnreachable || !strings.Contains(s.Reason, "encryption key") {
			t.Errorf("%s sees a node with a foreign key as %s: %s", from.name, s.State, s.Reason)
		}
	}
}
