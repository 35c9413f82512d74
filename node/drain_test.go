package node

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"statiko/api"
)

// A node that is told to stop says so to load balancers, on its API and on the web server's ports, and serves on until
// they had time to notice.
func TestNode_ServesOnWhileLoadBalancersNotice(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	dir := t.TempDir()
	n, err := New(testConfig(t, dir, "port: 0=>port: 0\ndrainDelay: 2"), Options{Version: "test", Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	r := launch(t, n, dir, logs)
	r.addSite("a.example.org")
	ready := func() int {
		p, err := fetch(r.h1, "10.0.0.1", "/readyz")
		if err != nil {
			return 0
		}
		return p.status
	}
	if s := ready(); s != 200 {
		t.Fatalf("/readyz on the web server: %d", s)
	}
	began := time.Now()
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	r.eventually(func() error {
		if s := ready(); s != 503 {
			return fmt.Errorf("/readyz on the web server: %d", s)
		}
		return nil
	})
	seen := 0
	for {
		p, err := fetch(r.h2, "a.example.org", "/")
		if err != nil {
			break // its listener is closed
		}
		if p.status != 200 {
			t.Errorf("status %d while it is drained", p.status)
		}
		seen++
	}
	<-stopped
	if took := time.Since(began); took < 2*time.Second || seen == 0 {
		t.Errorf("stopped after %s, with %d pages served", took, seen)
	}
}

// A node that was drained before has been noticed: it does not wait again when it stops.
func TestNode_DrainedBeforeDoesNotWaitAgain(t *testing.T) {
	r := start(t, t.TempDir(), "port: 0=>port: 0\ndrainDelay: 600")
	r.server.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	r.ok(r.client.Drain(r.ctx()))
	res, err := http.Get(strings.Replace("http://ADDR/readyz", "ADDR", r.WebAddrs()[0].String(), 1))
	r.ok(err)
	if res.Body.Close(); res.StatusCode != 503 {
		t.Errorf("/readyz on the web server: %s", res.Status)
	}
	var a api.Answer
	if _, err := r.client.Status(r.ctx(), "", false, api.Observe(&a)); err != nil || a.Status != 200 {
		t.Errorf("/status: %d, %v", a.Status, err)
	}
	http.DefaultClient.CloseIdleConnections()
	r.stop()
}
