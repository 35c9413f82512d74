package bundle

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// CheckProxies returns a [*ManifestError] naming each rule whose proxy is not in allowed, or nil. An entry of
// allowed is a host, which allows all its ports, or host:port. IPv6 addresses stand in brackets where a port
// follows. Nothing else is allowed: in particular loopback and link-local addresses only if named themselves.
//
// A name is compared as a name. What it resolves to is the web server's to check when it connects.
func (m *Manifest) CheckProxies(allowed []string) error {
	if m == nil {
		return nil
	}
	var faults []ManifestFault
	for i, r := range m.Rules {
		if r.Options.Proxy == nil || ProxyAllowed(r.Options.Proxy, allowed) {
			continue
		}
		faults = append(faults, ManifestFault{
			Line:    r.Line,
			Field:   fmt.Sprintf("rules[%d].options.proxy", i),
			Message: fmt.Sprintf("the host %q is not allowed on this server; its administrator can add it to manifest.allowProxy", r.Options.Proxy.Host),
		})
	}
	if faults == nil {
		return nil
	}
	return &ManifestError{Name: m.name, Faults: faults}
}

// ProxyAllowed tells whether an entry of allowed covers u, as [Manifest.CheckProxies] says.
func ProxyAllowed(u *url.URL, allowed []string) bool {
	host, port := hostKey(u.Hostname()), u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	for _, entry := range allowed {
		entry = strings.TrimSpace(entry)
		if h, p, err := net.SplitHostPort(entry); err == nil {
			if hostKey(h) == host && p == port && host != "" {
				return true
			}
			continue
		}
		if hostKey(strings.Trim(entry, "[]")) == host && host != "" {
			return true
		}
	}
	return false
}

// hostKey makes hosts comparable: letter case and the dot at a name's end do not matter, nor does the way an
// address is written.
func hostKey(host string) string {
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
