package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/api"
	"statiko/test/cluster"
)

// document returns a state document with some sites, all of which use the imported certificate that the node's own
// document has, which it is made from.
func document(t testing.TB, n *cluster.Node, pair, what string, sites int) []byte {
	t.Helper()
	client := n.Client()
	defer client.Close()
	var text bytes.Buffer
	cluster.Must(t, client.State(context.Background(), &text))
	var doc map[string]any
	cluster.Must(t, json.Unmarshal(text.Bytes(), &doc))
	list := make([]any, sites)
	for i := range list {
		list[i] = map[string]any{
			"domain": siteNumber(what, i).Domain, "aliases": []string{fmt.Sprintf("www-%s-%d.example.org", what, i)},
			"tls": map[string]string{"type": "imported", "cert": pair}, "app": nil,
		}
	}
	doc["sites"] = list
	out, err := json.Marshal(doc)
	cluster.Must(t, err)
	return out
}

// count returns how many sites the node has.
func count(n *cluster.Node) (int, error) {
	list, err := n.Sites()
	return len(list), err
}

// A state of more sites than one value of etcd can hold is restored (weaknesses W4 and W5 of the earlier program,
// which answered 400 and then served what was never stored): both nodes have it, and serve it.
func TestW5_RestoreOfManySites(t *testing.T) {
	t.Parallel()
	sites := 14000
	if soak() {
		sites = 100000
	}
	c := startCluster(t, builtFast(t), 2, "api.maxStateSize=256MB")
	cluster.Must(t, c.Nodes[0].API(t).ImportCertificate(context.Background(), cluster.SelfMade("wild", "*.example.org")))
	file := filepath.Join(t.TempDir(), "state.json")
	text := document(t, c.Nodes[0], "wild", "many", sites)
	cluster.Must(t, os.WriteFile(file, text, 0o600))
	if most := 3 << 19; len(text) <= most {
		t.Fatalf("the document has %d bytes: etcd would take %d as one value", len(text), most)
	}

	began := time.Now()
	c.Nodes[0].Stkcli(t, "state", "set", "--file", file, "--yes")
	t.Logf("%d sites, %.1f MB, restored in %s", sites, float64(len(text))/1e6, time.Since(began).Round(time.Millisecond))
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(30*time.Second, n.Name()+" has all", func() error {
			got, err := count(n)
			if err == nil && got != sites {
				err = fmt.Errorf("%d sites, want %d", got, sites)
			}
			return err
		}))
	}
	t.Logf("both nodes have them after %s", time.Since(began).Round(time.Millisecond))
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(2*time.Minute, "all is applied", n.Settled))
	}
	t.Logf("and have applied them after %s", time.Since(began).Round(time.Millisecond))
	serial := ""
	for i := 0; i < sites; i += sites / 20 {
		for _, domain := range []string{siteNumber("many", i).Domain, fmt.Sprintf("www-many-%d.example.org", i)} {
			s := certificateAlike(t, domain, c.Nodes...)
			if serial != "" && s != serial {
				t.Errorf("%s has the serial number %s, not %s", domain, s, serial)
			}
			serial = s
		}
		c.Serves(t, 5*time.Second, siteNumber("many", i).Domain)
	}

	// One change among them costs what it costs among few.
	change := time.Now()
	addSite(t, c.Nodes[1].API(t), "one.example.org")
	took := time.Since(change)
	c.Serves(t, 20*time.Second, "one.example.org")
	t.Logf("one site more was stored in %s, and served by both after %s", took.Round(time.Millisecond), time.Since(change).Round(time.Millisecond))
}

// certificateAlike returns the serial number of the certificate that all nodes show for a name.
func certificateAlike(t testing.TB, name string, nodes ...*cluster.Node) string {
	t.Helper()
	serial := ""
	for _, n := range nodes {
		cert, err := n.CertificateOf(name)
		cluster.Must(t, err)
		s := cert.SerialNumber.Text(16)
		if serial != "" && s != serial {
			t.Errorf("%s: the nodes show different certificates", name)
		}
		serial = s
	}
	return serial
}

// Whole states, each with a certificate of its own that its sites use, replace each other through one node, which is
// killed at any moment (weakness W7 of the earlier program, which wrote secrets and sites one after the other): the
// other node always has one of them as a whole, and never a half.
func TestW7_RestoreIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	const sites = 200
	rounds := 5
	if soak() {
		rounds = 60
	}
	c := startCluster(t, builtFast(t), 2)
	a, b := c.Nodes[0], c.Nodes[1]
	ctx := context.Background()
	var docs [2][]byte
	for i, what := range []string{"red", "blue"} {
		cluster.Must(t, a.API(t).ImportCertificate(ctx, cluster.SelfMade(what, "*.example.org")))
		docs[i] = document(t, a, what, what, sites)
		cluster.Must(t, restore(a.API(t), docs[i]))
		cluster.Must(t, cluster.Poll(5*time.Second, "nothing else", func() error { _, err := wholeState(b, sites); return err }))
		for _, name := range []string{"red", "blue"} {
			// The next document has its own certificate alone.
			if name != what {
				_ = a.API(t).DeleteCertificate(ctx, name)
			}
		}
		docs[i] = document(t, a, what, what, sites)
	}

	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	seen := map[string]int{}
	watcher.Go(func() {
		for watching.Err() == nil {
			what, err := wholeState(b, sites)
			if err != nil {
				t.Error(err)
				return
			}
			seen[what]++
		}
	})
	t.Cleanup(watcher.Wait)
	t.Cleanup(stop)
	var made, cut atomic.Int32
	for round := range rounds {
		var restorer sync.WaitGroup
		before := made.Load()
		restorer.Go(func() {
			client := a.Client()
			defer client.Close()
			for i := range 100 {
				if restore(client, docs[i%2]) != nil {
					cut.Add(1)
					return
				}
				made.Add(1)
			}
		})
		// In some rounds it is killed in its first restore, in others in a later one.
		cluster.Must(t, cluster.Poll(30*time.Second, "restores are made", func() error {
			if n, want := made.Load()-before, int32(round%3); n < want {
				return fmt.Errorf("%d of %d", n, want)
			}
			return nil
		}))
		cluster.Until(time.Now().Add(rand.N(300 * time.Millisecond)))
		a.Kill()
		restorer.Wait()
		a.Start(t)
		cluster.Must(t, a.Healthy())
	}
	stop()
	watcher.Wait()
	t.Logf("%d restores made, %d cut off by a kill; the other node had %v", made.Load(), cut.Load(), seen)
	if seen["red"] == 0 || seen["blue"] == 0 || made.Load() == 0 || cut.Load() == 0 {
		t.Error("nothing was shown")
	}
	c.SameDocument(t)
}

func restore(c *api.Client, doc []byte) error {
	return c.SetState(context.Background(), bytes.NewReader(doc), int64(len(doc)))
}

// wholeState returns which of the two states the node has, and an error if it has a part of one, or of both.
func wholeState(n *cluster.Node, sites int) (string, error) {
	client := n.Client()
	defer client.Close()
	var text bytes.Buffer
	if err := client.State(context.Background(), &text); err != nil {
		return "", err
	}
	var doc struct {
		Sites []struct {
			Domain string
			TLS    struct{ Cert string }
		}
		Secrets map[string]any
	}
	if err := json.Unmarshal(text.Bytes(), &doc); err != nil {
		return "", err
	}
	if len(doc.Sites) != sites {
		return "", fmt.Errorf("%d sites", len(doc.Sites))
	}
	what := doc.Sites[0].TLS.Cert
	for _, s := range doc.Sites {
		if s.TLS.Cert != what || !strings.HasPrefix(s.Domain, what+"-") {
			return "", fmt.Errorf("%s uses %s, another site %s", s.Domain, s.TLS.Cert, what)
		}
	}
	if !slices.ContainsFunc(keysOf(doc.Secrets), func(name string) bool { return strings.Contains(name, what) }) {
		return "", fmt.Errorf("the certificate %s is missing among %q", what, keysOf(doc.Secrets))
	}
	return what, nil
}

func keysOf(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// A certificate that was removed is gone: on all nodes, after a restart, and from etcd; so is what a restore lacks
// (weakness W6 of the earlier program).
func TestW6_RemovedCertificateIsGoneEverywhere(t *testing.T) {
	t.Parallel()
	c := startCluster(t, builtFast(t), 2)
	a, b := c.Nodes[0].API(t), c.Nodes[1].API(t)
	ctx := context.Background()
	before := document(t, c.Nodes[0], "", "none", 0)
	for _, name := range []string{"deleted", "restored-away"} {
		cluster.Must(t, a.ImportCertificate(ctx, cluster.SelfMade(name, "*.example.org")))
	}
	cluster.Must(t, cluster.Poll(5*time.Second, "both on the other node", func() error { return hasCertificates(c.Nodes[1], "deleted", "restored-away") }))
	cluster.Must(t, b.DeleteCertificate(ctx, "deleted"))
	cluster.Must(t, cluster.Poll(5*time.Second, "one on the first node", func() error { return hasCertificates(c.Nodes[0], "restored-away") }))
	cluster.Must(t, restore(b, before))
	cluster.Must(t, cluster.Poll(5*time.Second, "none on the first node", func() error { return hasCertificates(c.Nodes[0]) }))
	etcd := c.Etcd.Client(t)
	cluster.Must(t, cluster.Poll(20*time.Second, "none in etcd", func() error {
		r, err := etcd.Get(ctx, "/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			if key := string(kv.Key); strings.Contains(key, "deleted") || strings.Contains(key, "restored-away") {
				return fmt.Errorf("etcd has %s", key)
			}
		}
		return nil
	}))
	for _, n := range c.Nodes {
		cluster.Must(t, n.Stop())
		n.Start(t)
		cluster.Must(t, n.Healthy())
		cluster.Must(t, hasCertificates(n))
	}
}

// A certificate that no site uses is imported, a hundred times (weakness W60 of the earlier program, whose nodes read
// all secrets again and synchronised for each): etcd sends the nodes what is new, and not what they have.
func TestW60_ImportMakesNobodyReadAllAgain(t *testing.T) {
	t.Parallel()
	c := startCluster(t, builtFast(t), 2)
	client := c.Nodes[0].API(t)
	ctx := context.Background()
	imported := func(from, to int) {
		for i := from; i < to; i++ {
			cluster.Must(t, client.ImportCertificate(ctx, cluster.SelfMade(fmt.Sprintf("pair-%03d", i), "*.example.org")))
		}
	}
	const few, many = 10, 110
	sent := func() float64 { return c.Etcd.Metric(t, "etcd_network_client_grpc_sent_bytes_total") }
	start := sent()
	imported(0, few)
	early := (sent() - start) / few
	imported(few, many)
	start = sent()
	imported(many, many+few)
	late := (sent() - start) / few
	t.Logf("for one import, etcd sent %.0f bytes with few certificates there, and %.0f with %d", early, late, many)
	if late > 2*early+4096 {
		t.Errorf("etcd sends %.0f bytes for one import among %d, and %.0f among few", late, many, early)
	}
	if got, err := client.Certificates(ctx); err != nil || len(got) != many+few {
		t.Errorf("%d certificates, %v", len(got), err)
	}
}
