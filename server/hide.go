package server

import (
	"strings"

	"statiko/api"
)

// What callers who are not authenticated see instead of names and reasons.
const (
	hiddenApp   = "<hidden>"
	hiddenError = "<hidden error>"
)

// hide takes out of a status what is not everybody's business. domain says how a site's domain is shown.
func hide(st *api.Status, domain func(string) string) {
	for _, text := range []*string{&st.Nginx.Error, &st.Sync.SyncError, &st.Store.Reason, &st.Unregistered} {
		hideText(text, hiddenError)
	}
	st.Leader, st.NoLeaderSince, st.Quarantine, st.Certificate = "", nil, nil, nil
	for i := range st.Health {
		h := &st.Health[i]
		h.Domain = domain(h.Domain)
		hideText(&h.Error, hiddenError)
		hideText(&h.Serving, hiddenApp)
		if h.App != nil {
			app := hiddenApp
			h.App = &app
		}
	}
}

func hideText(text *string, instead string) {
	if *text != "" {
		*text = instead
	}
}

// maskDomain shows of each label the first two characters, and the last label whole: blog.example.com becomes
// bl**.ex**.com.
func maskDomain(domain string) string {
	labels := strings.Split(domain, ".")
	for i, label := range labels {
		if i < len(labels)-1 || len(labels) == 1 {
			labels[i] = label[:min(2, len(label))] + "**"
		}
	}
	return strings.Join(labels, ".")
}
