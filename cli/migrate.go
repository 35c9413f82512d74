package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/migrate"
	"statiko/state"
)

// migration is what "state migrate" was given.
type migration struct {
	from, to             string
	dryRun, replace, yes bool
}

func (a *app) migrateCommand() *cobra.Command {
	var m migration
	cmd := &cobra.Command{
		Use: "migrate", Short: "Move the state between a file and etcd",
		Long: `Moves the state from where one configuration of a node keeps it to where another one does: from a file to etcd, or back.
Run it on the server, as the user that the node runs as. It needs both configurations, and not --node.

A node that runs with the source's file is frozen: it serves on and refuses changes, and has to be started with the other
configuration afterwards. Until the last step the source is in force; whatever happens, the same command can be run again.
Bundles' archives are not moved: the state says only what they are.`,
		Example: `  stkcli state migrate --from /etc/statiko/node-config.yaml --to /etc/statiko/node-config.etcd.yaml --dry-run
  stkcli state migrate --from /etc/statiko/node-config.yaml --to /etc/statiko/node-config.etcd.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.stateMigrate(cmd.Context(), m) },
	}
	f := cmd.Flags()
	f.StringVar(&m.from, "from", "", "configuration of a node that keeps its state where it is now")
	f.StringVar(&m.to, "to", "", "configuration of a node that keeps its state where it shall be")
	f.BoolVar(&m.dryRun, "dry-run", false, "only show what would change")
	f.BoolVar(&m.replace, "replace", false, "let the target lose the state that it has")
	f.BoolVar(&m.yes, "yes", false, "do not ask")
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

func (a *app) stateMigrate(ctx context.Context, m migration) error {
	from, err := a.place("--from", m.from)
	if err != nil {
		return err
	}
	to, err := a.place("--to", m.to)
	if err != nil {
		return err
	}
	report, err := migrate.Run(ctx, migrate.Options{
		From: from, To: to, DryRun: m.dryRun, Replace: m.replace, Progress: a.say,
		Confirm: func(r *migrate.Report) error { return a.confirmReplace(ctx, m.yes, r) },
	})
	if a.flags.output == outputTable {
		for _, w := range report.Warnings {
			a.warn("%s", w)
		}
	}
	if err != nil {
		return migrateError(err)
	}
	return a.print(report, func(t *table) { t.migration(report) })
}

// confirmReplace asks before a state is lost.
func (a *app) confirmReplace(ctx context.Context, yes bool, r *migrate.Report) error {
	sites := r.Removed[string(state.KindSite)]
	if sites > 0 && !yes {
		shown, more := r.RemovedSites, ""
		if len(shown) > 20 {
			shown = shown[:20]
		}
		if sites > len(shown) {
			more = fmt.Sprintf("\n  … and %d more", sites-len(shown))
		}
		fmt.Fprintf(a.Stderr, "These sites are not in the source:\n  %s%s\n", strings.Join(shown, "\n  "), more)
	}
	return a.confirm(ctx, yes, "Replace the state that is in %s, and remove %d of its sites?", r.To, sites)
}

// migrateError finds out whose fault it was.
func migrateError(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	const message = "could not move the state"
	if r, ok := errors.AsType[*migrate.Refusal](err); ok {
		return &failure{code: ExitUser, message: message, cause: err, hint: r.Hint}
	}
	_, answered := errors.AsType[*api.Error](err)
	_, unanswered := errors.AsType[*api.TransportError](err)
	_, otherKey := errors.AsType[*api.PinMismatchError](err)
	if answered || unanswered || otherKey || errors.Is(err, state.ErrUnavailable) || errors.Is(err, state.ErrUnknown) {
		return &failure{code: ExitNode, message: message, cause: err, hint: "the source is in force as before; run the same command again"}
	}
	return &failure{code: ExitLocal, message: message, cause: err}
}

// migration writes what was done.
func (t *table) migration(r *migrate.Report) {
	t.row("From", r.From)
	t.row("To", r.To)
	t.row("Result", map[string]string{
		migrate.ResultMigrated: "the state is moved: what stands under To is in force",
		migrate.ResultAlready:  "it was moved before; nothing was changed",
		migrate.ResultWould:    "it could be moved; nothing was changed",
	}[r.Result])
	t.row("State", counts(r.Objects)+fmt.Sprintf(", %s", size(int64(r.Bytes))))
	t.row("SHA-256", r.Digest)
	t.row("Key", r.KeyID)
	if r.Result == migrate.ResultWould {
		t.row("Added", counts(r.Added))
		t.row("Changed", counts(r.Changed))
		t.row("Removed", counts(r.Removed))
		for _, name := range r.RemovedSites {
			t.line("- %s %s", state.KindSite, name)
		}
	}
	if r.Kept != "" {
		t.row("Replaced", "what was there is kept as "+r.Kept)
	}
	for i, next := range r.Next {
		if i == 0 {
			t.line("")
			t.line("Now:")
		}
		t.line("  %d. %s", i+1, next)
	}
}

// counts words numbers by kind, in the order of the document.
func counts(by map[string]int) string {
	var parts []string
	for _, kind := range state.Kinds() {
		if n := by[string(kind)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(slices.Clip(parts), ", ")
}
