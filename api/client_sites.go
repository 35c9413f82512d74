package api

import (
	"context"
	"net/http"
)

// Codes that the contract promises for a success; anything else is not a node.
var (
	okOnly        = []int{http.StatusOK}
	noContentOnly = []int{http.StatusNoContent}
)

// Sites returns all sites. It is never nil without an error.
func (c *Client) Sites(ctx context.Context, options ...CallOption) ([]Site, error) {
	var sites []Site
	if err := c.call(ctx, newCall(http.MethodGet, options, "site"), nil, &sites); err != nil {
		return nil, err
	}
	if sites == nil {
		sites = []Site{}
	}
	return sites, nil
}

// Site returns the site that has the domain or alias; state.ErrNotFound if there is none.
func (c *Client) Site(ctx context.Context, domain string, options ...CallOption) (*Site, error) {
	var site Site
	if err := c.call(ctx, newCall(http.MethodGet, options, "site", domain), nil, &site); err != nil {
		return nil, err
	}
	return &site, nil
}

// CreateSite adds a site and returns it as it was stored; state.ErrExists if a name is taken.
func (c *Client) CreateSite(ctx context.Context, site SiteCreate, options ...CallOption) (*Site, error) {
	k := newCall(http.MethodPost, options, "site")
	k.accept = okOnly
	var created Site
	if err := c.call(ctx, k, site, &created); err != nil {
		return nil, err
	}
	return &created, nil
}

// ChangeSite changes what is not nil and returns the site as it is then.
func (c *Client) ChangeSite(ctx context.Context, domain string, change SiteChange, options ...CallOption) (*Site, error) {
	k := newCall(http.MethodPatch, options, "site", domain)
	k.accept = okOnly
	var changed Site
	if err := c.call(ctx, k, change, &changed); err != nil {
		return nil, err
	}
	return &changed, nil
}

// DeleteSite removes the site that has the domain or alias.
func (c *Client) DeleteSite(ctx context.Context, domain string, options ...CallOption) error {
	k := newCall(http.MethodDelete, options, "site", domain)
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}

// Deploy makes the site serve the bundle.
func (c *Client) Deploy(ctx context.Context, domain, app string, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "site", domain, "app")
	k.accept = noContentOnly
	return c.call(ctx, k, SiteApp{Name: app}, nil)
}

// Undeploy makes the site serve the placeholder page.
func (c *Client) Undeploy(ctx context.Context, domain string, options ...CallOption) error {
	k := newCall(http.MethodDelete, options, "site", domain, "app")
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}

// Rollback makes the site serve an app of its history, "" for the one before, and returns the site.
func (c *Client) Rollback(ctx context.Context, domain, app string, options ...CallOption) (*Site, error) {
	k := newCall(http.MethodPost, options, "site", domain, "rollback")
	k.accept = okOnly
	var site Site
	if err := c.call(ctx, k, SiteRollback{App: app}, &site); err != nil {
		return nil, err
	}
	return &site, nil
}

// SiteHistory returns the versions of a site, newest first.
func (c *Client) SiteHistory(ctx context.Context, domain string, options ...CallOption) ([]SiteVersion, error) {
	var versions []SiteVersion
	if err := c.call(ctx, newCall(http.MethodGet, options, "site", domain, "history"), nil, &versions); err != nil {
		return nil, err
	}
	return versions, nil
}
