package config

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// setDefaults fills in what neither the file nor the environment says.
func (l *loader) setDefaults(hostname string) {
	for i := range l.table {
		k := &l.table[i]
		if l.failed[k.name] || l.wasSet(k.name) {
			continue
		}
		if k.def == "" {
			continue
		}
		if err := k.set(l.Config, value{text: k.def}); err != nil {
			l.fail(k, place{}, err) // a fault of the table; a test sets every default
		}
	}
	if l.NodeName == "" && !l.failed["nodeName"] {
		l.NodeName = hostname
	}
}

// check judges the final values.
func (l *loader) check() {
	for i := range l.table {
		k := &l.table[i]
		if l.failed[k.name] {
			continue
		}
		l.key = k
		if k.required != "" && k.isEmpty(l.Config) {
			l.fault("is required: %s", k.required)
			continue
		}
		l.checkSupport(k)
		if k.check != nil {
			k.check(l)
		}
	}
}

// checkSupport warns of keys without effect.
func (l *loader) checkSupport(k *key) {
	if k.status == effective || !l.wasSet(k.name) {
		return
	}
	// A switch that is off asks for what happens anyway.
	if b, ok := k.field(l.Config).(*bool); ok && !*b {
		return
	}
	if s, ok := k.field(l.Config).(*string); ok && *s == "off" {
		return
	}
	l.warn("has no effect yet in this version")
}

// wasSet tells whether the file or the environment gives the key a value that is not empty.
func (l *loader) wasSet(name string) bool {
	p, ok := l.places[name]
	return ok && !p.empty
}

func (l *loader) isSet() bool { return l.wasSet(l.key.name) }

// place returns where a key stands, or else the innermost section of the file in which it could stand.
func (l *loader) place(name string) place {
	if p, ok := l.places[name]; ok {
		return p
	}
	for s := strings.ToLower(name); strings.Contains(s, "."); {
		s = s[:strings.LastIndexByte(s, '.')]
		if p, ok := l.places[s]; ok {
			return p
		}
	}
	return place{}
}

// fault reports a fault of the key being checked.
func (l *loader) fault(format string, args ...any) { l.faultFor(l.key.name, format, args...) }

func (l *loader) faultFor(name, format string, args ...any) {
	l.failed[name] = true
	l.faultAt(l.place(name), name, format, args...)
}

// faultItem reports a fault of item i, counted from 0, of the list being checked.
func (l *loader) faultItem(i int, format string, args ...any) {
	l.failed[l.key.name] = true
	p := l.place(l.key.name)
	if i < len(p.items) {
		p = p.items[i]
	}
	l.faultAt(p, l.key.name, "item "+itoa(i+1)+": "+format, args...)
}

func (l *loader) warn(format string, args ...any) {
	l.warnAt(l.place(l.key.name), l.key.name, format, args...)
}

func (l *loader) between(n, low, high int) {
	if n < low || n > high {
		l.fault("must be %d to %d, not %d", low, high, n)
	}
}

func (l *loader) positive(n int64) {
	if n < 1 {
		l.fault("must be more than 0")
	}
}

func (l *loader) durations(d, low, high time.Duration) {
	if d < low || d > high {
		l.fault("must be %v to %v, not %v", low, high, d)
	}
}

// needs requires the key being checked if cond holds, which because says in words.
func (l *loader) needs(cond bool, because string) {
	if cond && l.key.isEmpty(l.Config) {
		l.fault("is required, as %s", because)
	}
}

// address checks a host:port to listen on and brings it into canonical form.
func (l *loader) address(s *string) {
	host, port, err := net.SplitHostPort(*s)
	if err == nil {
		host, err = bareHost(host)
	}
	if err == nil {
		port, err = portNumber(port)
	}
	if err != nil {
		l.fault("must be host:port or :port, with a port of 0 to 65535, such as :443 or 127.0.0.1:8443, not %s", l.key.show(*s))
		return
	}
	*s = net.JoinHostPort(host, port)
}

func (l *loader) url(s string) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") {
		l.fault("must be a URL that begins with https:// or http://")
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func portNumber(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || strings.HasPrefix(s, "+") {
		return "", errors.New("no port")
	}
	return strconv.FormatUint(n, 10), nil
}

var asciiHost = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)

// hostName returns a host name in lower case and ASCII (IDNA). Underscores are allowed, as names of containers
// have them.
func hostName(s string) (string, error) {
	h := strings.ToLower(s)
	if !asciiHost.MatchString(h) {
		var err error
		if h, err = idna.Lookup.ToASCII(s); err != nil || !asciiHost.MatchString(h) {
			return "", errors.New("no host name")
		}
	}
	if len(h) > 253 {
		return "", errors.New("host name too long")
	}
	return h, nil
}

// bareHost accepts a host name or an IP address, with or without brackets, and "".
func bareHost(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	inner := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		inner = s[1 : len(s)-1]
	}
	if a, err := netip.ParseAddr(inner); err == nil {
		return a.String(), nil
	}
	return hostName(s)
}

// hostMaybePort accepts host, IP address, host:port and [IPv6]:port.
func hostMaybePort(s string) (string, error) {
	if h, err := bareHost(s); err == nil && h != "" {
		return h, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", cmp.Or(err, errors.New("no host"))
	}
	if host, err = bareHost(host); err != nil {
		return "", err
	}
	if port, err = portNumber(port); err != nil || port == "0" {
		return "", errors.New("no port")
	}
	return net.JoinHostPort(host, port), nil
}

// origin returns an origin as browsers send it (RFC 6454, section 6.2).
func origin(s string) (string, error) {
	bad := errors.New("must be an origin such as https://admin.example.org, without a path, and not *")
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Path != "" || u.RawQuery != "" || u.Fragment != "" ||
		u.User != nil || strings.HasSuffix(u.Host, ":") || strings.ContainsAny(s, "?#") {
		return "", bad
	}
	host, err := bareHost(u.Hostname())
	if err != nil || host == "" {
		return "", bad
	}
	port := u.Port()
	if port != "" {
		if port, err = portNumber(port); err != nil || port == "0" {
			return "", bad
		}
	}
	switch {
	case port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80":
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port), nil
}
