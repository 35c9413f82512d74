package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/state"
)

// deploy is a change of what a site serves.
type deploy struct {
	domain, app      string
	path, signingKey string
	all              bool
	rollback, none   bool
}

func (a *app) deployCommand() *cobra.Command {
	var d deploy
	cmd := domainFlag(&cobra.Command{
		Use: "deploy", Short: "Make a site serve an app bundle, a folder, an earlier version, or nothing",
		Long: `Makes a site serve something else. One of these says what:

  --app NAME      an uploaded bundle
  --path FOLDER   a folder or an archive, which is uploaded first. The bundle's name is made from the site's and from
                  the content, so that the same content again uploads nothing
  --rollback      the version that the site had before, or, with --app, that one of its history (stkcli site history)
  --none          nothing: the page that a new site has`,
		Example: "  stkcli deploy --domain docs.example.org --app docs-42 --wait\n" +
			"  stkcli deploy --domain docs.example.org --path ./public --wait\n" +
			"  stkcli deploy --domain docs.example.org --rollback --wait",
	}, &d.domain)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if fault := d.fault(); fault != "" {
			return usageError(cmd, "%s", fault)
		}
		return a.deploy(cmd.Context(), d)
	}
	f := cmd.Flags()
	f.StringVarP(&d.app, "app", "a", "", "the bundle's name")
	f.StringVarP(&d.path, "path", "f", "", pathUsage)
	f.StringVarP(&d.signingKey, "signing-key", "s", "", signingKeyUsage)
	f.BoolVar(&d.all, "all", false, allUsage)
	f.BoolVar(&d.rollback, "rollback", false, "go back to the version before, or to --app")
	f.BoolVar(&d.none, "none", false, "serve no bundle any more")
	return a.changes(cmd)
}

// fault says what is wrong with the flags; "" if nothing is.
func (d *deploy) fault() string {
	given := 0
	for _, is := range []bool{d.app != "" && !d.rollback, d.path != "", d.rollback, d.none} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return "give one of --app, --path, --rollback and --none"
	case d.path == "" && (d.signingKey != "" || d.all):
		return "--signing-key and --all are for --path"
	}
	return ""
}

func (a *app) deploy(ctx context.Context, d deploy) error {
	if d.path != "" {
		return a.deployPath(ctx, d)
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case d.rollback:
		return a.rollback(ctx, c, d)
	case d.none:
		err = a.change(ctx, c, d.domain, "take the bundle from "+d.domain, func(o ...api.CallOption) error {
			return c.Undeploy(ctx, d.domain, o...)
		})
		if err == nil {
			a.say("%s serves no bundle any more", d.domain)
		}
		return err
	}
	err = a.change(ctx, c, d.domain, "deploy "+d.app+" on "+d.domain, func(o ...api.CallOption) error {
		return c.Deploy(ctx, d.domain, d.app, o...)
	})
	switch {
	case err != nil:
	case a.flags.wait > 0:
		a.say("%s serves %s", d.domain, d.app)
	default:
		a.say("%s is to serve %s; with --wait you would know when it does", d.domain, d.app)
	}
	return err
}

// deployed is what is printed where the caller did not name the bundle.
type deployed struct {
	Domain string `json:"domain"`
	App    string `json:"app"`
	// Before is what the site served; null for nothing.
	Before *string `json:"before"`
	// Uploaded tells that the bundle was not there before.
	Uploaded bool `json:"uploaded"`
}

// printDeployed says in one line what happened, also if it is not applied yet.
func (a *app) printDeployed(d deployed, site *api.Site, how string, waiting error) error {
	verb := "is to serve"
	if waiting == nil && a.flags.wait > 0 {
		verb = "serves"
	}
	before := "nothing"
	if site.App != nil {
		before, d.Before = site.App.Name, &site.App.Name
	}
	if err := a.print(d, func(t *table) {
		if before == d.App {
			t.line("%s %s %s, as before (%s)", d.Domain, verb, d.App, how)
			return
		}
		t.line("%s %s %s (%s; before: %s)", d.Domain, verb, d.App, how, before)
	}); err != nil {
		return err
	}
	return waiting
}

func (a *app) rollback(ctx context.Context, c *api.Client, d deploy) error {
	before, err := c.Site(ctx, d.domain)
	if err != nil {
		return a.nodeError(err, "get the site %s", d.domain)
	}
	var site *api.Site
	waiting := a.change(ctx, c, d.domain, "roll "+d.domain+" back", func(o ...api.CallOption) (err error) {
		site, err = c.Rollback(ctx, d.domain, d.app, o...)
		return err
	})
	if site == nil {
		if f, ok := errors.AsType[*failure](waiting); ok {
			return f.withHint("stkcli site history --domain %s shows what it can go back to", d.domain)
		}
		return waiting
	}
	result := deployed{Domain: site.Domain}
	if site.App != nil {
		result.App = site.App.Name
	}
	return a.printDeployed(result, before, "an earlier version", waiting)
}

// deployPath uploads a folder or an archive, unless its content is there, and deploys it.
func (a *app) deployPath(ctx context.Context, d deploy) error {
	sign, err := a.signer(d.signingKey)
	if err != nil {
		return err
	}
	archive, err := a.openArchive(d.path, d.all)
	if err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	site, err := c.Site(ctx, d.domain)
	if err != nil {
		return a.nodeError(err, "get the site %s", d.domain)
	}
	file, sum, done, err := a.packed(ctx, archive)
	defer done()
	if err != nil {
		return err
	}
	name := contentName(site.Domain, sum)
	isNew, err := a.ensure(ctx, c, name, file, sum, sign)
	if err != nil {
		return err
	}
	waiting := a.change(ctx, c, site.Domain, "deploy "+name+" on "+site.Domain, func(o ...api.CallOption) error {
		return c.Deploy(ctx, site.Domain, name, o...)
	})
	if f, ok := errors.AsType[*failure](waiting); ok && f.code != ExitNotApplied {
		return f
	}
	how := "uploaded"
	if !isNew {
		how = "it was there already"
	}
	return a.printDeployed(deployed{Domain: site.Domain, App: name, Uploaded: isNew}, site, how, waiting)
}

// ensure uploads an archive unless the same content has the name already, and sees to its signature. It tells whether
// it uploaded.
func (a *app) ensure(ctx context.Context, c *api.Client, name string, file *archive, sum []byte, sign *signer) (bool, error) {
	apps, err := c.Apps(ctx)
	if err != nil {
		return false, a.nodeError(err, "list the app bundles")
	}
	digest := hex.EncodeToString(sum)
	i := slices.IndexFunc(apps, func(x api.App) bool { return x.Name == name && x.SHA256 == digest })
	if i < 0 {
		_, err := a.send(ctx, c, name, file, "uploading", sign, 0)
		return err == nil, err
	}
	if sign == nil {
		return false, nil
	}
	// The same key signs the same content in the same way.
	if signature, err := sign.sign(sum); err != nil || signature == apps[i].Signature {
		return false, err
	}
	_, err = a.complete(ctx, c, &uploaded{Name: name}, sum, sign, time.Duration(0))
	return false, err
}

// contentName names a bundle from the first label of a site's domain and its content: 48 bits of its SHA-256, among
// which two versions of one site do not meet by chance.
func contentName(domain string, sum []byte) string {
	label, _, _ := strings.Cut(domain, ".")
	name := label + "-" + hex.EncodeToString(sum[:6])
	if stored, err := state.CheckAppName(name); err == nil {
		return stored
	}
	// Domains may begin with a digit, names of bundles may not.
	return "site-" + name
}
