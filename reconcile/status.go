package reconcile

import "time"

// Status tells how far a Reconciler is.
type Status struct {
	// Running is true while something known is not applied yet: a pass is under way, or a site waits for its
	// certificate or its bundle.
	Running bool
	// LastSync is when the last pass began; when the Reconciler was made, before the first.
	LastSync time.Time
	// Err is why the last pass could not complete, faults of single sites aside; nil if it did.
	Err error
	// Revision is the newest revision of the state for which a pass has ended; see Err.
	Revision int64
}

// SiteStatus tells how one site is.
type SiteStatus struct {
	Domain string
	// App is the bundle that the state asks for; "" for none.
	App string
	// Serving is the bundle that is served; "" for none, or if the site is not served at all.
	Serving string
	// Healthy tells whether the site is served as the state asks.
	Healthy bool
	// Err says what is wrong, or waited for; it may also hold a remark about a healthy site.
	Err string
	// Time is when this was found.
	Time time.Time
}
