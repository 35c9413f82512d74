package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"statiko/api"
)

// domainFlag adds the required --domain.
func domainFlag(cmd *cobra.Command, domain *string) *cobra.Command {
	cmd.Flags().StringVarP(domain, "domain", "d", "", "the site's domain, or one of its aliases")
	_ = cmd.MarkFlagRequired("domain")
	return cmd
}

func (a *app) siteCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List all sites",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.siteList(cmd.Context()) },
	}
	var get, remove string
	var yes bool
	getCmd := domainFlag(&cobra.Command{
		Use: "get", Short: "Show a site",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.siteGet(cmd.Context(), get) },
	}, &get)
	removeCmd := domainFlag(&cobra.Command{
		Use: "remove", Short: "Remove a site",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.siteRemove(cmd.Context(), remove, yes) },
	}, &remove)
	removeCmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return group("site", "Manage sites", list, getCmd, a.changes(a.siteAddCommand()), a.changes(a.siteSetCommand()), a.changes(removeCmd), a.historyCommand())
}

const certificateUsage = "selfsigned, acme, akv:NAME[:VERSION], or the name of an imported certificate"

func (a *app) siteAddCommand() *cobra.Command {
	var create api.SiteCreate
	var certificate string
	cmd := &cobra.Command{
		Use: "add", Short: "Add a site",
		Example: "  stkcli site add --domain docs.example.org --alias www.docs.example.org --certificate acme --wait",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if create.Domain == "" && !create.Temporary {
				return usageError(cmd, "--domain is missing")
			}
			create.TLS = parseCertificate(certificate)
			return a.siteAdd(cmd.Context(), create)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&create.Domain, "domain", "d", "", "the site's domain")
	f.StringSliceVarP(&create.Aliases, "alias", "a", nil, "another name of the site; may be repeated")
	f.StringVarP(&certificate, "certificate", "c", "selfsigned", certificateUsage)
	f.BoolVarP(&create.Temporary, "temporary", "t", false, "let the node choose a domain below temporarySites.domain")
	return cmd
}

func (a *app) siteSetCommand() *cobra.Command {
	var domain, certificate string
	var aliases []string
	var noAlias bool
	cmd := domainFlag(&cobra.Command{
		Use: "set", Short: "Change a site",
		Long: "Changes what is named, and nothing else.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var change api.SiteChange
			if cmd.Flags().Changed("certificate") {
				change.TLS = parseCertificate(certificate)
			}
			switch {
			case noAlias:
				change.Aliases = &[]string{}
			case cmd.Flags().Changed("alias"):
				change.Aliases = &aliases
			case change.TLS == nil:
				return usageError(cmd, "nothing is named to change: give --certificate, --alias or --no-alias")
			}
			return a.siteSet(cmd.Context(), domain, change)
		},
	}, &domain)
	f := cmd.Flags()
	f.StringSliceVarP(&aliases, "alias", "a", nil, "the site's aliases from now on, in place of those it has; may be repeated")
	f.BoolVar(&noAlias, "no-alias", false, "take all aliases away")
	f.StringVarP(&certificate, "certificate", "c", "", certificateUsage)
	cmd.MarkFlagsMutuallyExclusive("alias", "no-alias")
	return cmd
}

// parseCertificate reads the value of --certificate.
func parseCertificate(text string) *api.SiteTLS {
	switch text {
	case "", "selfsigned":
		return &api.SiteTLS{Type: "selfsigned"}
	case "acme", "letsencrypt":
		return &api.SiteTLS{Type: "acme"}
	}
	if vault, ok := strings.CutPrefix(text, "akv:"); ok {
		name, version, _ := strings.Cut(vault, ":")
		return &api.SiteTLS{Type: "akv", Certificate: name, Version: version}
	}
	return &api.SiteTLS{Type: "imported", Certificate: text}
}

func (a *app) siteList(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	sites, err := c.Sites(ctx)
	if err != nil {
		return a.nodeError(err, "list the sites")
	}
	return a.print(sites, func(t *table) {
		if len(sites) == 0 {
			t.line("There is no site.")
		}
		for i := range sites {
			t.gap(i)
			t.site(&sites[i])
		}
	})
}

func (a *app) siteGet(ctx context.Context, domain string) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	site, err := c.Site(ctx, domain)
	if err != nil {
		return a.nodeError(err, "get the site %s", domain)
	}
	return a.print(site, func(t *table) { t.site(site) })
}

func (a *app) siteAdd(ctx context.Context, create api.SiteCreate) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var site *api.Site
	doing := "add the site " + create.Domain
	if create.Domain == "" {
		doing = "add a temporary site"
	}
	waiting := a.change(ctx, c, create.Domain, doing, func(o ...api.CallOption) (err error) {
		site, err = c.CreateSite(ctx, create, o...)
		return err
	})
	return a.printSite(site, waiting)
}

func (a *app) siteSet(ctx context.Context, domain string, change api.SiteChange) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var site *api.Site
	waiting := a.change(ctx, c, domain, "change the site "+domain, func(o ...api.CallOption) (err error) {
		site, err = c.ChangeSite(ctx, domain, change, o...)
		return err
	})
	return a.printSite(site, waiting)
}

// printSite prints the site as it is stored, also if it is not applied yet.
func (a *app) printSite(site *api.Site, err error) error {
	if site == nil {
		return err
	}
	if e := a.print(site, func(t *table) { t.site(site) }); e != nil {
		return e
	}
	return err
}

func (a *app) siteRemove(ctx context.Context, domain string, yes bool) error {
	if err := a.confirm(ctx, yes, "Remove the site %s, with all its names?", domain); err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	err = a.change(ctx, c, domain, "remove the site "+domain, func(o ...api.CallOption) error {
		return c.DeleteSite(ctx, domain, o...)
	})
	if err == nil {
		a.say("the site %s is removed", domain)
	}
	return err
}

// site writes a site.
func (t *table) site(s *api.Site) {
	domain := s.Domain
	if s.Temporary {
		domain += " (temporary)"
	}
	t.row("Domain", domain)
	t.row("Aliases", strings.Join(s.Aliases, ", "))
	t.row("TLSCert", tlsText(s.TLS))
	app := ""
	if s.App != nil {
		app = s.App.Name
	}
	t.row("App", app)
}

// tlsText shows the choice of a certificate as --certificate takes it, but for "self-signed".
func tlsText(c *api.SiteTLS) string {
	if c == nil {
		return ""
	}
	text := c.Type
	switch c.Type {
	case "selfsigned":
		text = "self-signed"
	case "imported":
		text = c.Certificate
	case "akv":
		text = "akv:" + c.Certificate
	}
	if c.Version != "" {
		text += " (" + c.Version + ")"
	}
	return text
}
