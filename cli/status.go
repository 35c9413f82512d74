package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/state"
)

func (a *app) statusCommand() *cobra.Command {
	var domain string
	var force, exitCode bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show how the node and its sites are",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context(), domain, force, exitCode) },
	}
	f := cmd.Flags()
	f.StringVarP(&domain, "domain", "d", "", "only this site")
	f.BoolVarP(&force, "force", "f", false, "look at everything anew")
	f.BoolVar(&exitCode, "exit-code", false, "exit with 6 if something is not well")
	return cmd
}

func (a *app) status(ctx context.Context, domain string, force, exitCode bool) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var answer api.Answer
	s, err := c.Status(ctx, domain, force, api.Observe(&answer))
	if err != nil {
		if domain == "" || !errors.Is(err, state.ErrNotFound) {
			return a.nodeError(err, "get the status")
		}
		// As the earlier program did: an answer, not an error.
		if a.flags.output == outputTable {
			fmt.Fprintf(a.Stdout, "%s\nThere is no site %s.\n", a.paintOut(red, "The node answered with status 404"), domain)
		} else if err := encode(a.Stdout, a.flags.output, nil); err != nil {
			return localError(err, "could not write the result")
		}
		if exitCode {
			return &failure{code: ExitUnhealthy, message: "there is no site " + domain}
		}
		return nil
	}
	err = a.print(s, func(t *table) {
		if answer.Status != 200 {
			t.line("%s", a.paintOut(red, fmt.Sprintf("The node answered with status %d", answer.Status)))
		}
		t.status(s)
	})
	if err == nil && exitCode && (answer.Status != 200 || !healthy(s)) {
		return &failure{code: ExitUnhealthy, message: "something is not well; see the status"}
	}
	return err
}

// healthy tells whether all that a status tells of is well.
func healthy(s *api.Status) bool {
	bad := func(h api.SiteHealth) bool { return !h.Healthy }
	return s.Nginx.Running && s.Store.Healthy && s.Unregistered == "" && s.Sync.SyncError == "" && (s.Certificate == nil || s.Certificate.Error == "") && len(s.Quarantine) == 0 && !slices.ContainsFunc(s.Health, bad)
}

func (a *app) clusterCommand() *cobra.Command {
	var exitCode bool
	status := &cobra.Command{
		Use: "status", Short: "Show how all nodes and their sites are",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.clusterStatus(cmd.Context(), exitCode) },
	}
	status.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 6 if something is not well")
	return group("cluster", "Look at the cluster", status)
}

func (a *app) clusterStatus(ctx context.Context, exitCode bool) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	members, err := c.ClusterStatus(ctx)
	if err != nil {
		return a.nodeError(err, "get the cluster's status")
	}
	ids := slices.Sorted(maps.Keys(members))
	err = a.print(members, func(t *table) {
		for i, id := range ids {
			t.gap(i)
			t.line("Node %s:", id)
			t.indent = "    "
			s := members[id]
			t.status(&s.Status, memberRows(s)...)
			t.indent = ""
		}
	})
	if err != nil || !exitCode {
		return err
	}
	for _, id := range ids {
		if s := members[id]; !healthy(&s.Status) || s.Error != "" || s.Lagging || s.State != "" && s.State != api.MemberUp {
			return &failure{code: ExitUnhealthy, message: "the node " + s.Name + " (" + id + ") is not well; see the status"}
		}
	}
	return nil
}

// statusWidth is the column where values of a status begin.
const statusWidth = 20

// memberRows are what a cluster's status tells of a member beside its own status. Nodes of the earlier program do not
// tell it.
func memberRows(m api.MemberStatus) [][2]string {
	if m.State == "" {
		return nil
	}
	rows := [][2]string{{"Member state", detail(m.State, m.Error)}}
	if m.Address != "" {
		rows = append(rows, [2]string{"Address", m.Address})
	}
	if m.Since != nil {
		rows = append(rows, [2]string{"Up since", m.Since.Format(time.RFC3339)})
	}
	if m.State != api.MemberUp && m.State != api.MemberUnregistered {
		return rows
	}
	lag := fmt.Sprint(m.Lag)
	if m.Lagging {
		since := "for more than ten seconds"
		if m.BehindSince != nil {
			since = "since " + m.BehindSince.Format(time.RFC3339)
		}
		lag = detail(lag, "lagging "+since)
	}
	return append(rows, [2]string{"Applied revision", fmt.Sprint(m.Applied)}, [2]string{"Lag", lag})
}

// status writes a node's status, and more rows about the node.
func (t *table) status(s *api.Status, more ...[2]string) {
	t.width = statusWidth
	defer func() { t.width = labelWidth }()
	t.line("Info")
	t.row("Node name", s.Name)
	t.row("Nginx is running", detail(yesNo(s.Nginx.Running), s.Nginx.Error))
	t.row("Sync is running", yesNo(s.Sync.Running))
	last := ""
	if !s.Sync.LastSync.IsZero() {
		last = s.Sync.LastSync.Format(time.RFC3339)
	}
	t.row("Last sync time", last)
	t.row("Sync error", s.Sync.SyncError)
	t.row("Store is healthy", detail(yesNo(s.Store.Healthy), s.Store.Reason))
	// Nodes of the earlier program do not tell these.
	if s.Leader != "" {
		t.row("Leader", s.Leader)
	} else if s.NoLeaderSince != nil {
		t.row("Leader", "nobody since "+s.NoLeaderSince.Format(time.RFC3339))
	}
	if s.Version != "" {
		t.row("Version", s.Version)
	}
	if s.Certificate != nil && s.Certificate.Error != "" {
		t.row("Certificate", detail("the last good one, until "+s.Certificate.NotAfter.Format(time.RFC3339), s.Certificate.Error))
	}
	if s.Draining != nil {
		t.row("Drained since", s.Draining.Format(time.RFC3339))
	}
	if s.Unregistered != "" && len(more) == 0 {
		t.row("Not registered", s.Unregistered)
	}
	for _, row := range more {
		t.row(row[0], row[1])
	}
	t.w.WriteByte('\n')
	t.line("Sites")
	for i, h := range s.Health {
		t.gap(i)
		t.row("Domain", h.Domain)
		t.row("Healthy", yesNo(h.Healthy))
		app := ""
		if h.App != nil {
			app = *h.App
		}
		if h.Serving != "" {
			app += " (still serving " + h.Serving + ")"
		}
		t.row("App", app)
		checked := ""
		if h.Time != nil {
			checked = h.Time.Format(time.RFC3339)
		}
		t.row("Last check", checked)
		t.row("Error", h.Error)
	}
	for i, q := range s.Quarantine {
		if i == 0 {
			t.w.WriteByte('\n')
			t.line("Kept, but faulty and not served")
		}
		t.row(q.Kind+" "+q.Name, q.Reason)
	}
	for i, n := range s.Bundles {
		if i == 0 {
			t.w.WriteByte('\n')
			t.line("What happened to bundles")
		}
		text := n.Text
		if n.Bundle != "" {
			text = n.Bundle + ": " + text
		}
		t.row(n.Time.Format(time.RFC3339), text)
	}
}

// detail puts a reason in brackets behind a value.
func detail(value, reason string) string {
	if reason == "" {
		return value
	}
	return value + " (" + reason + ")"
}
