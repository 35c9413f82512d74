package builtin

import "strings"

// hostName is the name in a Host header or a server name of TLS: without port, brackets and final dot, in lower
// case. It allocates only if there are capital letters.
func hostName(host string) string {
	if strings.HasPrefix(host, "[") {
		if i := strings.IndexByte(host, ']'); i > 0 {
			return strings.ToLower(host[1:i])
		}
		return ""
	}
	if i := strings.IndexByte(host, ':'); i >= 0 && i == strings.LastIndexByte(host, ':') {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// cleanPath is the decoded path of a request without dot segments and repeated slashes; a final slash, dot or
// pair of dots is kept as a slash. It says false for a path that no file can have: with control characters,
// not beginning with a slash, or leaving the root.
func cleanPath(p string) (string, bool) {
	if p == "" || p[0] != '/' {
		return "", false
	}
	simple := true
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c < 0x20 || c == 0x7f:
			return "", false
		case c == '/' && i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.'):
			simple = false
		}
	}
	if simple {
		return p, true
	}
	var segments []string
	last := ""
	for last = range strings.SplitSeq(p[1:], "/") {
		switch last {
		case "", ".":
		case "..":
			if len(segments) == 0 {
				return "", false
			}
			segments = segments[:len(segments)-1]
		default:
			segments = append(segments, last)
		}
	}
	clean := "/" + strings.Join(segments, "/")
	if (last == "" || last == "." || last == "..") && len(segments) > 0 {
		clean += "/"
	}
	return clean, true
}

// hidden tells whether a clean path has a segment that begins with a dot, such as /.git/config. Only
// /.well-known (RFC 8615) is not hidden.
func hidden(p string) bool {
	if rest, ok := strings.CutPrefix(p, "/.well-known"); ok && (rest == "" || rest[0] == '/') {
		p = rest
	}
	return strings.Contains(p, "/.")
}

// encodedSlash tells whether the path as sent has a slash that is encoded, whose meaning differs between
// programs (RFC 3986, 2.2), so that a rule for it could be evaded.
func encodedSlash(rawPath string) bool {
	for i := strings.IndexByte(rawPath, '%'); i >= 0 && i+2 < len(rawPath); i++ {
		if rawPath[i] == '%' && rawPath[i+1] == '2' && (rawPath[i+2] == 'f' || rawPath[i+2] == 'F') {
			return true
		}
	}
	return false
}

const challengePrefix = "/.well-known/acme-challenge/"

// nodePath tells whether a path belongs to the node on hosts that are no site. A path that is not clean never does.
func nodePath(p string) bool {
	switch p {
	case "/status", "/info", "/healthz", "/readyz":
		return true
	}
	if challengePath(p) {
		return true
	}
	clean, ok := cleanPath(p)
	return ok && clean == p && strings.HasPrefix(p, "/status/")
}

// challengePath tells whether a path is an ACME challenge (RFC 8555, 8.3), whose last segment is the token.
func challengePath(p string) bool {
	token, ok := strings.CutPrefix(p, challengePrefix)
	return ok && token != "" && token[0] != '.' && !strings.Contains(token, "/")
}
