package etcdtest

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Put(ctx, key, value); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *clientv3.Client, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := c.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return ""
	}
	return string(r.Kvs[0].Value)
}

func TestCluster_AnOlderCopyOfTheDataIsReallyOlder(t *testing.T) {
	c := Start(t, Options{})
	client := c.Client(t)
	put(t, client, "k", "old")
	m := c.Member(0)
	m.Kill()
	copied := m.CopyData(t)
	m.Restart(t)
	c.AwaitReady(t)
	put(t, client, "k", "new")
	snapshot := m.Snapshot(t)
	m.Kill()
	m.PutBack(t, copied)
	m.Restart(t)
	c.AwaitReady(t)
	if v := get(t, client, "k"); v != "old" {
		t.Fatalf("with its old data, etcd has %q", v)
	}
	if !Foreign() {
		m.Kill()
		m.RestoreSnapshot(t, snapshot)
		m.Restart(t)
		c.AwaitReady(t)
		if v := get(t, client, "k"); v != "new" {
			t.Fatalf("from its snapshot, etcd has %q", v)
		}
	}
	m.Kill()
	m.Wipe(t)
	m.Restart(t)
	c.AwaitReady(t)
	if v := get(t, c.Client(t), "k"); v != "" {
		t.Fatalf("wiped, etcd has %q", v)
	}
}

func TestMember_AFrozenOneDoesNotAnswer(t *testing.T) {
	c := Start(t, Options{})
	client := c.Client(t)
	put(t, client, "k", "v")
	c.Member(0).Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := client.Get(ctx, "k"); err == nil {
		t.Fatal("it answers")
	}
	c.Member(0).Cont(t)
	if v := get(t, client, "k"); v != "v" {
		t.Fatalf("got %q", v)
	}
}

func TestCluster_TLSAndAuthentication(t *testing.T) {
	files, _ := NewTLS(t)
	c := Start(t, Options{Members: 3, TLS: files, RootPassword: "secret"})
	put(t, c.Client(t), "k", "v")
	if n := c.Metric(t, "etcd_server_has_leader"); n != 1 {
		t.Fatalf("%v leaders", n)
	}
}
