package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// A node is started again and again, each time after a site was added through another node: from its first answer on, no
// visitor is told by it that a site is not there, neither the new one nor the old ones.
func TestStart_NoSiteIsMissingForAMoment(t *testing.T) {
	t.Parallel()
	rounds := 4
	if soak() {
		rounds = 50
	}
	c := startCluster(t, builtFast(t), 2)
	a, b := c.Nodes[0], c.Nodes[1]
	importLoadPair(t, a)
	var domains []string
	slowest := time.Duration(0)
	for round := range rounds {
		if round > 0 {
			cluster.Must(t, b.Stop())
		}
		domain := siteNumber("new", round).Domain
		_, err := a.API(t).CreateSite(context.Background(), api.SiteCreate{Domain: domain, TLS: &api.SiteTLS{Type: "imported", Certificate: loadPair}})
		cluster.Must(t, err)
		domains = append(domains, domain)
		if round == 0 {
			c.Serves(t, 20*time.Second, domain)
			continue
		}
		cluster.Must(t, b.Launch())
		for _, domain := range []string{domain, domains[0]} {
			began := time.Now()
			cluster.Must(t, cluster.Poll(cluster.StartTimeout, domain+" is served by the node that was started", func() error {
				v := cluster.NewVisitor(b)
				defer v.Close()
				p, err := v.Get("https://" + domain + "/")
				if err != nil {
					return err // it does not listen yet
				}
				if p.Status != 200 {
					return cluster.NoUse(fmt.Errorf("status %d, %.200q", p.Status, p.Body))
				}
				return nil
			}))
			slowest = max(slowest, time.Since(began))
		}
		cluster.Must(t, b.Open())
	}
	t.Logf("%d starts; a visitor waited for at most %s from the start on", rounds-1, slowest.Round(time.Millisecond))
}
