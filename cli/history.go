package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) historyCommand() *cobra.Command {
	var domain string
	return domainFlag(&cobra.Command{
		Use: "history", Short: "Show the versions that a site had, and whether it can go back to them",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.siteHistory(cmd.Context(), domain) },
	}, &domain)
}

func (a *app) siteHistory(ctx context.Context, domain string) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	versions, err := c.SiteHistory(ctx, domain)
	if err != nil {
		return a.nodeError(err, "get the history of %s", domain)
	}
	return a.print(versions, func(t *table) {
		if len(versions) == 0 {
			t.line("Nothing was deployed to %s yet.", domain)
		}
		for i, v := range versions {
			t.gap(i)
			t.row("App", v.App)
			deployed := "not known"
			if v.Time != nil {
				deployed = v.Time.Format(time.RFC3339)
			}
			t.row("Deployed", deployed)
			t.row("Current", yesNo(v.Current))
			if !v.Current {
				t.row("Can go back", detail(yesNo(v.Problem == ""), v.Problem))
			} else if v.Problem != "" {
				t.row("Problem", v.Problem)
			}
		}
	})
}
