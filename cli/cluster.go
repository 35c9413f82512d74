package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/state"
)

func (a *app) nodeCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the nodes of the cluster",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.nodeList(cmd.Context()) },
	}
	var name string
	var yes bool
	remove := &cobra.Command{
		Use: "remove", Short: "Make the cluster forget a node that will not come back",
		Long: `Makes the cluster forget a node, so that nothing waits for it any more. A node that is up cannot be removed: stop it
first. One that starts again later is a member again.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.nodeRemove(cmd.Context(), name, yes) },
	}
	remove.Flags().StringVarP(&name, "name", "n", "", "the node's name")
	remove.Flags().BoolVar(&yes, "yes", false, "do not ask")
	_ = remove.MarkFlagRequired("name")
	var undo bool
	drain := &cobra.Command{
		Use: "drain", Short: "Have load balancers send this node's visitors elsewhere",
		Long: `Has the node that you talk to answer 503 at /readyz, so that load balancers that look there send no more visitors. Those
who come are served as before. It lasts until it is undone or the node is started again. "stkcli status" shows it.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.nodeDrain(cmd.Context(), undo) },
	}
	drain.Flags().BoolVar(&undo, "undo", false, "take visitors again")
	return group("node", "Manage the cluster's nodes", list, remove, drain)
}

func (a *app) nodeList(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return a.nodeError(err, "list the nodes")
	}
	return a.print(nodes, func(t *table) {
		for i, n := range nodes {
			t.gap(i)
			t.row("Name", n.Name)
			t.row("Up", nodeUp(n))
			t.row("Address", n.Address)
			t.row("Fingerprint", n.Pin)
			t.row("Version", n.Version)
			t.row("Web server", n.WebServer)
			t.row("First seen", n.FirstSeen.Format(time.RFC3339))
			t.row("Id", n.ID)
		}
	})
}

// nodeUp says whether a node is up, and since when.
func nodeUp(n api.Node) string {
	switch {
	case n.Up && n.Since != nil:
		return detail("yes", "since "+n.Since.Format(time.RFC3339))
	case n.Up:
		return "yes"
	case n.UnseenSince == nil:
		return "no"
	case n.Stopped:
		return detail("no", "stopped at "+n.UnseenSince.Format(time.RFC3339))
	}
	return detail("no", "unseen since "+n.UnseenSince.Format(time.RFC3339))
}

func (a *app) nodeRemove(ctx context.Context, name string, yes bool) error {
	if err := a.confirm(ctx, yes, "Remove the node %s from the cluster?", name); err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.RemoveNode(ctx, name); err != nil {
		err = a.nodeError(err, "remove the node %s", name)
		if f, ok := errors.AsType[*failure](err); ok && errors.Is(f, state.ErrInUse) {
			f.hint = "stop the node first; stkcli node list shows which are up"
		}
		return err
	}
	a.say("the node %s is removed", name)
	return nil
}

func (a *app) nodeDrain(ctx context.Context, undo bool) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if undo {
		if err := c.Undrain(ctx); err != nil {
			return a.nodeError(err, "have the node take visitors again")
		}
		a.say("the node takes visitors again")
		return nil
	}
	if err := c.Drain(ctx); err != nil {
		return a.nodeError(err, "drain the node")
	}
	a.say("the node is drained; it serves who comes, until it is stopped")
	return nil
}

func (a *app) leaderCommand() *cobra.Command {
	get := &cobra.Command{
		Use: "get", Short: "Show which node leads",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.leaderGet(cmd.Context()) },
	}
	var to string
	stepDown := &cobra.Command{
		Use: "stepdown", Short: "Have the leader hand over to another node",
		Long: `Has the node that leads, whichever it is, hand the leadership over, and ends when another node leads. What the leader
was doing, such as generating Diffie-Hellman parameters, the next one begins anew.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.leaderStepDown(cmd.Context(), to) },
	}
	stepDown.Flags().StringVar(&to, "to", "", "the node that is to lead; any other one without it")
	return group("leader", "Look after the cluster's leader", get, stepDown)
}

func (a *app) leaderGet(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := c.Leader(ctx)
	if err != nil {
		return a.nodeError(err, "ask who leads")
	}
	return a.print(l, func(t *table) {
		t.row("Leader", l.Name)
		for _, row := range []struct {
			label string
			at    *time.Time
		}{{"Since", l.Since}, {"Nobody since", l.NobodySince}, {"Unknown since", l.UnknownSince}} {
			if row.at != nil {
				t.row(row.label, row.at.Format(time.RFC3339))
			}
		}
	})
}

func (a *app) leaderStepDown(ctx context.Context, to string) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StepDown(ctx, to); err != nil {
		return a.nodeError(err, "hand the leadership over")
	}
	a.say("another node leads now")
	return nil
}

func (a *app) storeCommand() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "Show whether the state can be changed, and why not",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.storeStatus(cmd.Context()) },
	}
	var yes bool
	accept := &cobra.Command{
		Use: "accept", Short: "Take what etcd has now, although it does not continue what the nodes know",
		Long: `For a cluster whose nodes are detached: etcd was wiped, restored or started from an old copy, and the nodes serve on
what they know. This decides that what etcd has is in force, and every node takes it: sites that it lacks are no
longer served. To put a backup there in place of it, use "stkcli state set" instead.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.storeAccept(cmd.Context(), yes) },
	}
	accept.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return group("store", "Look after where the state is kept", status, a.changes(accept))
}

func (a *app) storeStatus(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(ctx, "", false)
	if err != nil {
		return a.nodeError(err, "get the status")
	}
	return a.print(s.Store, func(t *table) {
		t.row("Type", s.Store.Type)
		t.row("Healthy", yesNo(s.Store.Healthy))
		t.row("Reason", s.Store.Reason)
		t.row("Revision", fmt.Sprint(s.Store.Revision))
	})
}

func (a *app) storeAccept(ctx context.Context, yes bool) error {
	if err := a.confirm(ctx, yes, "Take what etcd has now, on every node, and drop what the nodes know?"); err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	err = a.change(ctx, c, "", "take what etcd has", func(o ...api.CallOption) error { return c.AcceptStore(ctx, o...) })
	if err == nil {
		a.say("what etcd has is in force")
	}
	return err
}
