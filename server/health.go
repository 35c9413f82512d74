package server

import (
	"context"

	"statiko/reconcile"
)

// Health is what the API asks of [statiko/health.Prober].
type Health interface {
	// Site tells how one site is, by its primary domain.
	Site(domain string) reconcile.SiteStatus
	// Pending tells whether Site may tell of something as it was before it was changed.
	Pending() bool
	// Probe has a site looked at anew or, if domain is "", all sites, and returns when that is done or ctx ends.
	Probe(ctx context.Context, domain string)
}

// appliedHealth is that of a node whose sites nobody visits: a site is as it was applied.
type appliedHealth struct{ r Reconciler }

func (h appliedHealth) Site(domain string) reconcile.SiteStatus { return h.r.Site(domain) }
func (appliedHealth) Pending() bool                             { return false }
func (appliedHealth) Probe(context.Context, string)             {}
