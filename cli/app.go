package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/state"
)

// appFlag adds the required --app.
func appFlag(cmd *cobra.Command, app *string) *cobra.Command {
	cmd.Flags().StringVarP(app, "app", "a", "", "the bundle's name")
	_ = cmd.MarkFlagRequired("app")
	return cmd
}

func (a *app) appCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List all app bundles",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.appList(cmd.Context()) },
	}
	var name string
	var yes bool
	remove := appFlag(&cobra.Command{
		Use: "remove", Short: "Remove an app bundle that no site uses",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.appRemove(cmd.Context(), name, yes) },
	}, &name)
	remove.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return group("app", "Manage app bundles", list, a.changes(a.uploadCommand()), a.changes(remove))
}

func (a *app) appList(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	apps, err := c.Apps(ctx)
	if err != nil {
		return a.nodeError(err, "list the app bundles")
	}
	return a.print(apps, func(t *table) {
		if len(apps) == 0 {
			t.line("There are no apps.")
		}
		for i, app := range apps {
			t.gap(i)
			t.row("Name", app.Name)
			t.row("Size", size(app.Size))
			t.row("LastModified", app.LastModified.Format(time.RFC3339))
			// Nodes of the earlier program do not tell the rest.
			for _, extra := range [][2]string{{"Type", app.Type}, {"SHA256", app.SHA256}, {"Sites", strings.Join(app.Sites, ", ")}} {
				if extra[1] != "" {
					t.row(extra[0], extra[1])
				}
			}
		}
	})
}

func (a *app) appRemove(ctx context.Context, name string, yes bool) error {
	name, err := checkName(state.CheckAppName, "--app", name)
	if err != nil {
		return err
	}
	if err := a.confirm(ctx, yes, "Remove the app bundle %s?", name); err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	err = a.change(ctx, c, "", "remove the app bundle "+name, func(o ...api.CallOption) error {
		return c.DeleteApp(ctx, name, o...)
	})
	if err == nil {
		a.say("the app bundle %s is removed", name)
	}
	return err
}

// checkName returns the name as the node stores it.
func checkName(check func(string) (string, error), flag, name string) (string, error) {
	stored, err := check(name)
	if err != nil {
		return "", userError("%s %v", flag, err)
	}
	return stored, nil
}
