package cli

import (
	"context"
	"errors"

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
		Use: "list", Short: "List all app bundles, and which nodes have them",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.appList(cmd.Context()) },
	}
	var name string
	var yes bool
	remove := appFlag(&cobra.Command{
		Use: "remove", Short: "Remove an app bundle that no site uses or can go back to",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.appRemove(cmd.Context(), name, yes) },
	}, &name)
	remove.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return group("app", "Manage app bundles", list, a.changes(a.uploadCommand()), a.downloadCommand(), a.verifyCommand(), a.changes(remove))
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
	if f, ok := errors.AsType[*failure](err); ok && errors.Is(err, state.ErrInUse) {
		return f.withHint("deploy another bundle there first; what a site can go back to (stkcli site history) stays until\n" +
			"      repo.keepVersions newer ones were deployed, or the site is removed")
	}
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
