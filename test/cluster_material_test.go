package test

import (
	"context"
	"fmt"
	"slices"

	"statiko/test/cluster"
)

// hasCertificates is an error if the node lists other imported certificates than these.
func hasCertificates(n *cluster.Node, want ...string) error {
	c := n.Client()
	defer c.Close()
	got, err := c.Certificates(context.Background())
	if err != nil {
		return err
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s has the certificates %q, not %q", n.Name(), got, want)
	}
	return nil
}
