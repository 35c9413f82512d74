package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"statiko/api"
)

func (a *app) authCommand() *cobra.Command {
	psk := &cobra.Command{
		Use:   "psk",
		Short: "Store the node's pre-shared key",
		Long: `Asks for the node's pre-shared key (auth.psk.key of its configuration) without showing it, tries it, and stores
it for this host and port. Without a terminal the key is the first line of standard input.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.authPSK(cmd.Context()) },
	}
	forget := &cobra.Command{
		Use:   "forget",
		Short: "Remove the node's stored key",
		RunE: func(*cobra.Command, []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			n, err := a.readNodes()
			if err != nil {
				return err
			}
			if err := n.set(t, memberKey, ""); err != nil {
				return err
			}
			if n.get(t, memberKey) != "" {
				a.warn("the key that an earlier version stored for %s, whatever the port, is still there: remove it from %s", t.host, n.path)
				return nil
			}
			a.say("no key is stored for %s now", t.address())
			return nil
		},
	}
	return group("auth", "Store what proves to a node who you are", psk, forget)
}

func (a *app) authPSK(ctx context.Context) error {
	t, err := a.target()
	if err != nil {
		return err
	}
	o, err := a.trusted(ctx, t)
	if err != nil {
		return err
	}
	c, err := a.client(o)
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := c.Info(ctx)
	if err != nil {
		return a.nodeError(err, "ask the node how it authenticates")
	}
	if !slices.Contains(info.AuthMethods, "psk") {
		return userError("the node %s does not take pre-shared keys", t.address()).withHint("auth.psk.enabled in the node's configuration allows them")
	}
	key, err := a.askSecret(ctx, "Pre-shared key of "+t.address())
	if err != nil {
		return err
	}
	o.Token = key
	proven, err := a.client(o)
	if err != nil {
		return err
	}
	defer proven.Close()
	if _, err := proven.Sites(ctx); err != nil {
		if e, ok := errors.AsType[*api.Error](err); ok && e.Status == 401 {
			return &failure{code: ExitNode, message: "the node refuses this key; it was not stored", cause: err,
				hint: "the key is auth.psk.key in the node's configuration"}
		}
		return a.nodeError(err, "try the key")
	}
	n, err := a.readNodes()
	if err != nil {
		return err
	}
	if err := n.set(t, memberKey, key); err != nil {
		return err
	}
	a.say("the key for %s is stored in %s", t.address(), n.path)
	return nil
}

// askSecret reads a key without showing it or, without a terminal, from the first line of standard input.
func (a *app) askSecret(ctx context.Context, what string) (string, error) {
	var key string
	var err error
	if a.StdinTerminal && a.ReadSecret != nil {
		fmt.Fprintf(a.Stderr, "%s: ", what)
		key, err = interruptible(ctx, a.ReadSecret)
		fmt.Fprintln(a.Stderr)
	} else {
		key, err = a.readLine(ctx)
	}
	if err != nil && err != io.EOF {
		return "", localError(err, "could not read the key")
	}
	key = strings.TrimSpace(key)
	if key == "" {
		return "", userError("the key is empty")
	}
	return key, nil
}
