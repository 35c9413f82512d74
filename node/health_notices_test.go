package node

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// receiver is a webhook.
type receiver struct {
	*httptest.Server
	texts chan string
}

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{texts: make(chan string, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var payload map[string]string
		if err := json.Unmarshal(body, &payload); err != nil {
			t.Errorf("the webhook got %q: %v", body, err)
		}
		r.texts <- payload["value1"]
	}))
	t.Cleanup(r.Close)
	return r
}

// wants waits for one notice, which has to contain all the parts.
func (r *receiver) wants(t testing.TB, parts ...string) {
	t.Helper()
	select {
	case text := <-r.texts:
		for _, p := range parts {
			if !strings.Contains(text, p) {
				t.Errorf("told %q, want %q", text, parts)
			}
		}
	case <-time.After(patience):
		t.Fatalf("nothing was told; want %q", parts)
	}
}

// nothing fails if something more is told soon.
func (r *receiver) nothing(t testing.TB) {
	t.Helper()
	select {
	case text := <-r.texts:
		t.Errorf("told %q", text)
	case <-time.After(1500 * time.Millisecond): // that nothing comes can only be waited for
	}
}

// A site that stops answering is told of once, and once when it answers again, across a restart; a certificate of the
// node's own that expires is told of, too.
func TestNode_TellsThatASiteFailsAndIsWellAgain(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	var broken atomic.Bool
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			http.Error(w, "broken", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "fine")
	}))
	defer backend.Close()
	host := strings.TrimPrefix(backend.URL, "http://")
	dir := t.TempDir()
	writePair(t, dir, "node.test", 49*time.Hour)
	settings := "webserver: builtin=>webserver: builtin\nnotifications: {method: webhook, patience: 1s, webhook: {url: '" + hook.URL +
		"'}}\nmanifest: {allowProxy: ['" + host + "']}"
	n := start(t, dir, settings)
	hook.wants(t, "[statiko] (node.test) The certificate of the node node.test itself expires in 3 days")
	n.upload("shop-1", map[string]string{"index.html": "x", "_statiko.yaml": "rules:\n  - exact: /\n    options:\n      proxy: 'http://" + host + "'\n"})
	n.addSite("shop.example.org")
	n.deploy("shop.example.org", "shop-1")
	n.settled()
	hook.nothing(t)

	broken.Store(true)
	if _, err := n.client.Status(n.ctx(), "", true); err != nil { // as somebody who wonders would ask
		t.Fatal(err)
	}
	hook.wants(t, "[statiko] (node.test) The site shop.example.org is unhealthy on node.test: its start page answers with status 503")
	n.stop()
	n = start(t, dir, settings)
	hook.nothing(t)
	broken.Store(false)
	if _, err := n.client.Status(n.ctx(), "", true); err != nil {
		t.Fatal(err)
	}
	hook.wants(t, "[statiko] (node.test) The site shop.example.org is healthy again")
	hook.nothing(t)
}
