package test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// notices is a webhook that remembers what it was told, by the events' IDs.
type notices struct {
	*httptest.Server
	mu    sync.Mutex
	texts map[string][]string
}

func newNotices(t testing.TB) *notices {
	n := &notices{texts: map[string][]string{}}
	n.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var payload map[string]string
		_ = json.Unmarshal(body, &payload)
		n.mu.Lock()
		defer n.mu.Unlock()
		id := r.Header.Get("X-STK-Event-Id")
		n.texts[id] = append(n.texts[id], payload["value1"])
	}))
	t.Cleanup(n.Close)
	return n
}

// about returns how often something was told whose text contains the part, and all texts.
func (n *notices) about(part string) (count int, all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, texts := range n.texts {
		for _, text := range texts {
			all = append(all, text)
			if strings.Contains(text, part) {
				count++
			}
		}
	}
	return count, all
}

// W66: a site that fails on all nodes of a cluster is told of once, and once when it is well again, though each node sees
// it and leaders change in between: one is killed, one stopped.
func TestW66_AFailingSiteIsToldOncePerCluster(t *testing.T) {
	t.Parallel()
	told := newNotices(t)
	var broken atomic.Bool
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, "page")
	}))
	defer backend.Close()
	host := strings.TrimPrefix(backend.URL, "http://")
	c := startCluster(t, builtFast(t), 3, "notifications.method=webhook", "notifications.webhook.url="+told.URL,
		"notifications.patience=1s", "manifest.allowProxy="+host)
	client := apiOf(t, c.nodes[0])
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	f, err := z.Create("_statiko.yaml")
	must(t, err)
	fmt.Fprintf(f, "rules:\n  - exact: /\n    options:\n      proxy: '%s'\n", backend.URL)
	must(t, z.Close())
	must(t, client.UploadApp(context.Background(), "shop-1", "zip", bytes.NewReader(archive.Bytes()), nil))
	addSite(t, client, "shop.example.org")
	must(t, client.Deploy(context.Background(), "shop.example.org", "shop-1"))
	everywhere := func(nodes []*node, healthy bool) {
		t.Helper()
		for _, n := range nodes {
			client := apiOf(t, n)
			must(t, poll(startTimeout, fmt.Sprintf("the site is healthy on %s: %t", n.name(), healthy), func() error {
				s, err := client.Status(context.Background(), "shop.example.org", true)
				if err == nil && (len(s.Health) != 1 || s.Health[0].Healthy != healthy) {
					err = fmt.Errorf("%+v", s.Health)
				}
				return err
			}))
		}
	}
	once := func(part string) {
		t.Helper()
		must(t, poll(startTimeout, "it is told", func() error {
			if n, all := told.about(part); n == 0 {
				return fmt.Errorf("told %q", all)
			}
			return nil
		}))
	}
	everywhere(c.nodes, true)

	broken.Store(true)
	everywhere(c.nodes, false)
	once("shop.example.org is unhealthy on")

	first := c.leader(t, 10*time.Second, c.nodes...)
	first.kill()
	second, err := c.awaitLeader(leaseTTL+10*slack, first, c.others(first)...)
	must(t, err)
	must(t, second.stop())
	var third *node
	for _, n := range c.nodes {
		if n != first && n != second {
			third = n
		}
	}
	c.leader(t, 10*time.Second, third)
	broken.Store(false)
	everywhere([]*node{third}, true)
	once("shop.example.org is healthy again")

	for part, want := range map[string]int{"is unhealthy": 1, "is healthy again": 1} {
		if n, all := told.about(part); n != want {
			t.Errorf("%q was told %d times: %q", part, n, all)
		}
	}
}
