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

	"statiko/test/cluster"
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
	client := c.Nodes[0].API(t)
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	f, err := z.Create("_statiko.yaml")
	cluster.Must(t, err)
	fmt.Fprintf(f, "rules:\n  - exact: /\n    options:\n      proxy: '%s'\n", backend.URL)
	cluster.Must(t, z.Close())
	cluster.Must(t, client.UploadApp(context.Background(), "shop-1", "zip", bytes.NewReader(archive.Bytes()), nil))
	addSite(t, client, "shop.example.org")
	cluster.Must(t, client.Deploy(context.Background(), "shop.example.org", "shop-1"))
	everywhere := func(nodes []*cluster.Node, healthy bool) {
		t.Helper()
		for _, n := range nodes {
			client := n.API(t)
			cluster.Must(t, cluster.Poll(cluster.StartTimeout, fmt.Sprintf("the site is healthy on %s: %t", n.Name(), healthy), func() error {
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
		cluster.Must(t, cluster.Poll(cluster.StartTimeout, "it is told", func() error {
			if n, all := told.about(part); n == 0 {
				return fmt.Errorf("told %q", all)
			}
			return nil
		}))
	}
	everywhere(c.Nodes, true)

	broken.Store(true)
	everywhere(c.Nodes, false)
	once("shop.example.org is unhealthy on")

	first := c.Leader(t, 10*time.Second, c.Nodes...)
	first.Kill()
	second, err := c.AwaitLeader(cluster.LeaseTTL+10*cluster.Slack, first, c.Others(first)...)
	cluster.Must(t, err)
	cluster.Must(t, second.Stop())
	var third *cluster.Node
	for _, n := range c.Nodes {
		if n != first && n != second {
			third = n
		}
	}
	c.Leader(t, 10*time.Second, third)
	broken.Store(false)
	everywhere([]*cluster.Node{third}, true)
	once("shop.example.org is healthy again")

	for part, want := range map[string]int{"is unhealthy": 1, "is healthy again": 1} {
		if n, all := told.about(part); n != want {
			t.Errorf("%q was told %d times: %q", part, n, all)
		}
	}
}
