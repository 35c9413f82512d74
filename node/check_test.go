package node

import (
	"strings"
	"testing"

	"statiko/config"
	"statiko/test/etcdtest"
)

func TestCheck_SaysWhichEndpointOfEtcdFailsAndWhy(t *testing.T) {
	t.Parallel()
	good := etcdtest.Start(t, etcdtest.Options{}).Endpoints()[0]
	check := func(addresses string) error {
		t.Helper()
		text := strings.Replace(configText, "  store: file", "  store: etcd\n  etcd: {address: '"+addresses+"', timeout: 3000}", 1)
		c, _, err := config.Parse("test.yaml", []byte(strings.ReplaceAll(text, "DIR", t.TempDir())), nil)
		if err != nil {
			t.Fatal(err)
		}
		return Check(t.Context(), c)
	}
	if err := check(good); err != nil {
		t.Errorf("a good one: %v", err)
	}
	err := check(good + ",http://127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), "state.etcd.address: http://127.0.0.1:1: ") || !strings.Contains(err.Error(), "refused") ||
		strings.Contains(err.Error(), good+":") || !strings.Contains(err.Error(), "the other 1 of 2 endpoints answer") {
		t.Errorf("one of two: %v", err)
	}
	err = check("http://127.0.0.1:1,http://no-such-host.invalid:2379")
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "no-such-host.invalid") || strings.Contains(err.Error(), "would start") {
		t.Errorf("none: %v", err)
	}
}
