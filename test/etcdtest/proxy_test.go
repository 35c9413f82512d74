package etcdtest

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// A proxied client is cut off, silenced and slowed, while others go on; mended, it goes on too.
func TestProxy_CutSilencedSlowedMended(t *testing.T) {
	c := Start(t, Options{})
	p := c.Member(0).Proxy(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{p.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	put(t, client, "k", "v")
	answers := func(within time.Duration) bool {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := client.Get(ctx, "k")
		return err == nil
	}
	for name, fault := range map[string]func(){"cut": p.Cut, "reset": p.Reset, "silent": p.Silence} {
		fault()
		if answers(300 * time.Millisecond) {
			t.Errorf("%s: it answers", name)
		}
		if v := get(t, c.Client(t), "k"); v != "v" {
			t.Errorf("%s: another client gets %q", name, v)
		}
		p.Mend()
		if v := get(t, client, "k"); v != "v" {
			t.Errorf("%s, then mended: got %q", name, v)
		}
	}
	const delay = 200 * time.Millisecond
	p.Slow(delay, 1<<20)
	began := time.Now()
	if v := get(t, client, "k"); v != "v" || time.Since(began) < 2*delay {
		t.Errorf("slow: %q after %s", v, time.Since(began))
	}
}
