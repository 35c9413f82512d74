package bundle

import (
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
	"gopkg.in/yaml.v3"
)

func (p *manifestParser) options(n *yaml.Node, field string, matcher Matcher) Options {
	var o Options
	p.mapping(n, field, 0, func(key string, k, v *yaml.Node) {
		parent, field := field, join(field, key)
		switch key {
		case "clientCaching":
			if text, ok := p.text(v, field, maxText, true); ok {
				d, fault := parseCaching(text)
				if fault != "" {
					p.fault(v, field, "%s", fault)
				}
				o.ClientCaching = d
			}
		case "headers":
			o.Headers = p.headers(v, field)
		case "proxy":
			if text, ok := p.text(v, field, maxText, false); ok {
				u, fault := parseProxy(text, matcher)
				if fault != "" {
					p.fault(v, field, "%s", fault)
				}
				o.Proxy = u
			}
		case "deny":
			o.Deny = p.boolean(v, field)
		default:
			p.unknown(k, parent, key, "clientCaching, headers, proxy, deny")
		}
	})
	return o
}

func (p *manifestParser) headers(n *yaml.Node, field string) []Header {
	var headers []Header
	seen := map[string]bool{}
	p.mapping(n, field, maxHeaders, func(name string, k, v *yaml.Node) {
		field := join(field, name)
		lower := strings.ToLower(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			p.fault(k, field, "%q is not a header name", name)
			return
		case !headerAllowed(lower):
			p.fault(k, field, "bundles may not set this header; allowed are x-…, access-control-…, cross-origin-… and %s", strings.Join(allowedHeaders(), ", "))
			return
		case seen[lower]:
			p.fault(k, field, "the header is set twice; names do not differ by case")
			return
		}
		seen[lower] = true
		value, ok := p.text(v, field, maxHeaderValue, true)
		if !ok {
			return
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			p.fault(v, field, "the value has control characters or line breaks")
			return
		}
		headers = append(headers, Header{Name: name, Value: value})
	})
	return headers
}

// allowedHeaders are the headers that a bundle may set, besides those with the prefixes of headerAllowed. Not
// among them is what the server itself decides: lengths, ranges, validators, connection control.
func allowedHeaders() []string {
	return []string{
		"cache-control", "content-disposition", "content-encoding", "content-language", "content-md5",
		"content-security-policy", "content-type", "expires", "last-modified", "link", "location", "p3p",
		"permissions-policy", "pragma", "referrer-policy", "refresh", "set-cookie",
		"strict-transport-security", "vary", "warning",
	}
}

func headerAllowed(lower string) bool {
	for _, prefix := range []string{"x-", "access-control-", "cross-origin-"} {
		if strings.HasPrefix(lower, prefix) && len(lower) > len(prefix) {
			return true
		}
	}
	for _, name := range allowedHeaders() {
		if lower == name {
			return true
		}
	}
	return false
}

func parseProxy(text string, matcher Matcher) (*url.URL, string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, "is not a URL; write it as https://host or http://host:port"
	case u.Scheme != "http" && u.Scheme != "https", u.Opaque != "", u.Hostname() == "":
		return nil, fmt.Sprintf("%q is not an absolute http or https URL", u.Redacted())
	case u.User != nil:
		return nil, "must not carry a user name or password: everybody who has the bundle can read them"
	case u.Fragment != "" || strings.Contains(text, "#"):
		return nil, "must not have a fragment (#…)"
	case u.RawQuery != "" || u.ForceQuery:
		return nil, "must not have a query (?…); the request's own is passed on"
	case u.Path != "" && (matcher == MatchRegexp || matcher == MatchFile):
		return nil, fmt.Sprintf("must not have a path (%q) on a %s rule, where no fixed part of the request's path could be replaced by it; write %s://%s",
			u.Path, matcher, u.Scheme, u.Host)
	}
	if port := u.Port(); port == "" && strings.HasSuffix(u.Host, ":") || !validPort(port) {
		return nil, fmt.Sprintf("%q has no usable port", u.Host)
	}
	if strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, "the path has control characters"
	}
	return u, ""
}
