package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"statiko/api"
	"statiko/dhparams"
	"statiko/state"
	"statiko/test/etcdtest"
)

// With tls.dhparams.generate: auto, the leader makes parameters once a node that belongs to the cluster runs nginx.
func TestDHParams_AutoWaitsForAMemberWithNginx(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	dir := t.TempDir()
	core, logs := observer.New(zap.InfoLevel)
	searching := make(chan struct{}, 1)
	n, err := New(testConfig(t, dir, "generate: never=>generate: auto", "  store: file=>  store: etcd\n  etcd: {address: \""+c.Endpoints()[0]+"\"}"), Options{
		Version: "test", Log: zap.New(core),
		SearchDH: func(ctx context.Context, _ dhparams.Options) (*dhparams.Params, error) {
			searching <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := launch(t, n, dir, logs)
	member := func(name, engine string) {
		t.Helper()
		if _, err := n.store.Update(t.Context(), func(d *state.Draft) error {
			return d.Put(&state.Record{Kind: state.KindMember, Name: name,
				Data: []byte(`{"instanceId":"` + name + `","webServer":"` + engine + `"}`)})
		}); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually(func() error {
		if h := n.store.Health(); !h.Healthy {
			return fmt.Errorf("the store: %s", h.Reason)
		}
		return nil
	})
	member("other", "builtin")
	// A certificate shows that the duties of a term run. Not all members apply it: the other one does not exist.
	_, err = r.client.CreateSite(r.ctx(), api.SiteCreate{Domain: "auto.test"})
	r.ok(err)
	r.eventually(func() error {
		if is := r.health("auto.test"); is != "200 healthy=true " {
			return errors.New(is)
		}
		return nil
	})
	select {
	case <-searching:
		t.Fatal("parameters are made although no node runs nginx")
	default:
	}
	member("third", "nginx")
	select {
	case <-searching:
	case <-time.After(patience): // well below the minute after which it would be asked again
		t.Fatal("no parameters are made although a node runs nginx")
	}
}

// A node alone knows its own web server only.
func TestDHParams_NginxPresent(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	if r.nginxPresent() {
		t.Error("a node with the built-in web server counts as one with nginx")
	}
	other := *r.Node.config
	other.WebServer = engineNginx
	if n := (&Node{config: &other, group: r.group}); !n.nginxPresent() {
		t.Error("this node's own web server does not count")
	}
}
