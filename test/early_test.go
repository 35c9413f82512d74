package test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// The API is open before the first pass ends, however many sites there are (weakness W13 of the earlier program, whose
// API opened last): with 5,000 sites that have no certificates yet it answers while they are made, and takes changes.
func TestW13_APIOpensBeforeSitesAreApplied(t *testing.T) {
	t.Parallel()
	const sites = 5000
	// This bounds a machine that does much else; on an idle one it takes a fraction of a second.
	const limit = 3 * time.Second
	n := newNode(t)
	n.Bin = builtFast(t)
	var doc bytes.Buffer
	doc.WriteString(`{"sites":[`)
	for i := range sites {
		if i > 0 {
			doc.WriteString(",\n")
		}
		fmt.Fprintf(&doc, `{"domain":"s%d.example.org","aliases":["www.s%d.example.org"],"tls":{"type":"selfsigned"},"app":null}`, i, i)
	}
	doc.WriteString("]}\n")
	if err := os.WriteFile(filepath.Join(n.Dir, "state.json"), doc.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := n.Launch(); err != nil {
		t.Fatal(err)
	}
	v := cluster.Visit(t, n)
	healthz := fmt.Sprintf("https://%s/healthz", n.Address(n.APIPort))
	api1 := &http.Client{Timeout: limit, Transport: &http.Transport{TLSClientConfig: v.HTTP.Transport.(*http.Transport).TLSClientConfig.Clone()}}
	defer api1.CloseIdleConnections()
	if err := cluster.Poll(limit, "wait for /healthz", func() error {
		resp, err := api1.Get(healthz)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	healthy := time.Since(began)
	c := n.Client()
	defer c.Close()
	ctx := context.Background()
	list, err := c.Sites(ctx)
	if err != nil || len(list) != sites {
		t.Fatalf("%d sites: %v", len(list), err)
	}
	listed := time.Since(began)
	if _, err := c.CreateSite(ctx, api.SiteCreate{Domain: "new.example.org"}); err != nil {
		t.Fatal(err)
	}
	stored := time.Since(began)
	s, err := c.Status(ctx, "", false)
	if err != nil {
		t.Fatal(err)
	}
	waiting := 0
	for _, h := range s.Health {
		if !h.Healthy {
			waiting++
		}
	}
	t.Logf("from start to /healthz %s, to the list of %d sites %s, to a new site %s; %d sites waited then",
		healthy.Round(time.Millisecond), sites, listed.Round(time.Millisecond), stored.Round(time.Millisecond), waiting)
	if stored > limit {
		t.Errorf("the API took %s", stored)
	}
	if waiting == 0 && !s.Sync.Running {
		t.Error("all certificates were made before the API answered")
	}
	// Stopping does not wait for them either; what was made is kept.
	began = time.Now()
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("stopped after %s", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("the node took %s to stop", took)
	}
	n.Process = nil
}
