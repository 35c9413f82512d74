package state

import "fmt"

// siteRepairs says what bringing a site into its stored form has changed of what was written.
func siteRepairs(path string, written, stored *Site) []string {
	var repairs []string
	if written.Domain != stored.Domain {
		repairs = append(repairs, fmt.Sprintf("%s: the domain %q is stored as %q", path, written.Domain, stored.Domain))
	}
	for i, a := range written.Aliases {
		if a != stored.Aliases[i] {
			repairs = append(repairs, fmt.Sprintf("%s.aliases[%d]: %q is stored as %q", path, i, a, stored.Aliases[i]))
		}
	}
	if written.TLS == nil || written.TLS.Type != stored.TLS.Type {
		repairs = append(repairs, fmt.Sprintf("%s.tls: the site %s does not say where its certificate comes from; it is self-signed", path, stored.Domain))
	}
	return repairs
}
