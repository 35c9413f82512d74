package test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/cluster"
)

// Many sites are added at once in a cluster of three nodes: each gets one certificate, which is made once, has a serial
// number of its own, and is shown by all nodes.
func TestCertificates_OfManySitesOnThreeNodes(t *testing.T) {
	t.Parallel()
	sites, sample := 200, 20
	if soak() {
		sites, sample = 1000, 1000
	}
	c := startCluster(t, builtFast(t), 3, "state.etcd.keyPrefix=/many")
	ctx := context.Background()
	list := make([]any, sites)
	for i := range list {
		list[i] = map[string]any{"domain": siteNumber("s", i).Domain}
	}
	doc, err := json.Marshal(map[string]any{"sites": list})
	cluster.Must(t, err)
	began := time.Now()
	cluster.Must(t, c.Nodes[0].API(t).SetState(ctx, strings.NewReader(string(doc)), int64(len(doc))))
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(2*time.Minute, "certificates of all sites", n.Settled))
	}
	t.Logf("%d certificates on three nodes after %s", sites, time.Since(began).Round(time.Millisecond))

	r, err := c.Etcd.Client(t).Get(ctx, "/many/v1/g/", clientv3.WithPrefix())
	cluster.Must(t, err)
	pairs := 0
	for _, kv := range r.Kvs {
		if !strings.Contains(string(kv.Key), "/secrets/cert/selfsigned/") {
			continue
		}
		pairs++
		if kv.Version != 1 {
			t.Errorf("%s was written %d times", kv.Key, kv.Version)
		}
	}
	if pairs != sites {
		t.Errorf("%d pairs for %d sites", pairs, sites)
	}
	c.SameDocument(t)
	serials := map[string]string{}
	for i := range sample {
		domain := siteNumber("s", i*sites/sample).Domain
		serial := c.Serves(t, 10*time.Second, domain)
		if other := serials[serial]; other != "" {
			t.Errorf("%s and %s have the serial number %s", domain, other, serial)
		}
		serials[serial] = domain
	}
}
