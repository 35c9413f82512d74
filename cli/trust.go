package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"statiko/api"
)

func (a *app) trustCommand() *cobra.Command {
	var yes, remove bool
	c := &cobra.Command{
		Use:   "trust",
		Short: "Store which key a node is known by",
		Long: `Stores the fingerprint of the node's key, by which it is recognised from then on, whatever its certificate says.
With --fingerprint that one is stored, without connecting. Otherwise the node is asked for it, and you are asked
whether it is right; --yes takes it as it is. Nothing is sent to the node.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.trust(cmd.Context(), yes, remove) },
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&remove, "remove", false, "forget the stored fingerprint")
	return c
}

func (a *app) trust(ctx context.Context, yes, remove bool) error {
	t, err := a.target()
	if err != nil {
		return err
	}
	n, err := a.readNodes()
	if err != nil {
		return err
	}
	if remove {
		if err := n.set(t, memberPin, ""); err != nil {
			return err
		}
		a.say("no fingerprint is stored for %s now", t.address())
		return nil
	}
	pin, err := a.givenPin()
	if err != nil {
		return err
	}
	if pin == "" {
		peer, err := api.FetchPeer(ctx, t.host, t.port, nil)
		if err != nil {
			return a.nodeError(err, "reach the node")
		}
		pin = peer.Pin
		if known := n.get(t, memberPin); known != "" && known != pin && !yes {
			fmt.Fprintf(a.Stderr, "So far the node is known by %s.\n", known)
		}
		if err := a.confirm(ctx, yes, "Trust the node %s by its key %s?", t.address(), pin); err != nil {
			return err
		}
	}
	if err := n.set(t, memberPin, pin); err != nil {
		return err
	}
	a.say("the node %s is trusted by its key %s", t.address(), pin)
	return nil
}
