package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Serves waits until all nodes show the same certificate for the site, and its page. It returns the serial number.
func (c *Cluster) Serves(t testing.TB, timeout time.Duration, domain string) string {
	t.Helper()
	return ServeAlike(t, timeout, domain, c.Nodes...)
}

// ServeAlike is [Cluster.Serves] for some nodes.
func ServeAlike(t testing.TB, timeout time.Duration, domain string, nodes ...*Node) (serial string) {
	t.Helper()
	Must(t, Poll(timeout, domain+" is served alike", func() error {
		serial = ""
		for _, n := range nodes {
			cert, err := n.CertificateOf(domain)
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name(), err)
			}
			if err := cert.VerifyHostname(domain); err != nil {
				return fmt.Errorf("%s: %w", n.Name(), err)
			}
			s := cert.SerialNumber.Text(16)
			if serial != "" && s != serial {
				return fmt.Errorf("%s shows the serial number %s, another node %s", n.Name(), s, serial)
			}
			serial = s
		}
		return nil
	}))
	for _, n := range nodes {
		v := NewVisitor(n)
		err := servesPage(v, domain)
		if err != nil && n.HasNginx() {
			// While nginx is given a new configuration, workers of both answer: one the handshake above, another one this.
			err = Poll(timeout, "the page after the certificate", func() error { return servesPage(v, domain) })
		}
		v.Close()
		if err != nil {
			t.Fatalf("%s: %v", n.Name(), err)
		}
	}
	return serial
}

func servesPage(v *Visitor, domain string) error {
	p, err := v.Get("https://" + domain + "/")
	if err == nil && p.Status != 200 {
		err = fmt.Errorf("https://%s/: status %d", domain, p.Status)
	}
	return err
}

// HaveExactly waits until all nodes have exactly these sites.
func (c *Cluster) HaveExactly(t testing.TB, timeout time.Duration, want ...string) {
	t.Helper()
	slices.Sort(want)
	Must(t, Poll(timeout, "the same sites on all nodes", func() error {
		for _, n := range c.Nodes {
			got, err := n.Sites()
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name(), err)
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s has %d sites %.200q, not %d %.200q", n.Name(), len(got), got, len(want), want)
			}
		}
		return nil
	}))
}

// SameDocument waits until the nodes' whole states are the same.
func (c *Cluster) SameDocument(t testing.TB) {
	t.Helper()
	Must(t, Poll(10*time.Second, "the same document on all nodes", func() error {
		var first string
		for _, n := range c.Nodes {
			text, err := n.Document()
			if err != nil {
				return err
			}
			if first != "" && first != text {
				return fmt.Errorf("%s has another document, of %d bytes, not %d", n.Name(), len(text), len(first))
			}
			first = text
		}
		return nil
	}))
}

// Document returns the node's whole state.
func (n *Node) Document() (string, error) {
	client := n.Client()
	defer client.Close()
	var text strings.Builder
	err := client.State(context.Background(), &text)
	return text.String(), err
}
