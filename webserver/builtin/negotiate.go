package builtin

import "strings"

// The forms that a file can have, by rising preference.
const (
	identity = iota
	gzipped
	brotli
	encodings
)

// negotiate chooses a form for an Accept-Encoding header (RFC 9110, 12.5.3): the one with the highest weight,
// of equal ones the smallest. Without any acceptable form it is identity, which the RFC permits.
func (f *file) negotiate(accept string) int {
	if !f.negotiated || accept == "" {
		return identity
	}
	const unnamed = -1
	weight := [encodings]int{unnamed, unnamed, unnamed}
	star := unnamed
	for item := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(item, ";")
		q := weightOf(params)
		switch name = strings.TrimSpace(name); {
		case strings.EqualFold(name, "br"):
			weight[brotli] = q
		case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
			weight[gzipped] = q
		case strings.EqualFold(name, "identity"):
			weight[identity] = q
		case name == "*":
			star = q
		}
	}
	best, bestWeight := identity, weight[identity]
	for _, i := range [...]int{gzipped, brotli} {
		w := weight[i]
		if w == unnamed {
			w = star
		}
		if f.forms[i].exists && w > 0 && w >= bestWeight {
			best, bestWeight = i, w
		}
	}
	return best
}

// weightOf returns the q parameter in thousandths; 0 for one that cannot be read.
func weightOf(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(p, "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		whole, fraction, _ := strings.Cut(strings.TrimSpace(value), ".")
		if len(fraction) > 3 || whole != "0" && whole != "1" {
			return 0
		}
		q := int(whole[0]-'0') * 1000
		for i, unit := 0, 100; i < len(fraction); i, unit = i+1, unit/10 {
			if fraction[i] < '0' || fraction[i] > '9' {
				return 0
			}
			q += int(fraction[i]-'0') * unit
		}
		return min(q, 1000)
	}
	return 1000
}
