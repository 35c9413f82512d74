package bundle

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"gopkg.in/yaml.v3"
)

// Rewrite returns the path that is served in place of a requested one, and the query that its target adds (""
// if it adds none; the caller puts it before the request's own). The first rewrite that matches applies, and
// only that one, once: this is what nginx does with rewrites of a server that are marked "last", so that a target
// which matches a pattern again is no loop. The path is decoded, normalised and begins with "/", and so is the
// one returned. Without a match, the path itself and "" are returned. A nil manifest rewrites nothing.
func (m *Manifest) Rewrite(requested string) (newPath, query string) {
	if m == nil {
		return requested, ""
	}
	for i := range m.Rewrites {
		r := &m.Rewrites[i]
		groups := r.Pattern.FindStringSubmatch(requested)
		if groups == nil {
			continue
		}
		target, query, _ := strings.Cut(r.Target, "?")
		newPath = expand(target, groups, func(s string) string { return s })
		return normalise(newPath), expand(query, groups, url.QueryEscape)
	}
	return requested, ""
}

// expand replaces $1 to $9. What a group holds is not expanded again.
func expand(target string, groups []string, escape func(string) string) string {
	if !strings.Contains(target, "$") {
		return target
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(target, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if after != "" && after[0] >= '1' && after[0] <= '9' {
			if n := int(after[0] - '0'); n < len(groups) {
				b.WriteString(escape(groups[n]))
			}
			after = after[1:]
		}
		target = after
	}
}

// normalise resolves ".", ".." and double slashes, which groups can bring in. It keeps a slash at the end.
func normalise(p string) string {
	clean := path.Clean("/" + p)
	if clean != "/" && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	return clean
}

func (p *manifestParser) rewrites(n *yaml.Node) []Rewrite {
	var rewrites []Rewrite
	p.mapping(n, "rewrite", maxRewrites, func(pattern string, k, v *yaml.Node) {
		field := join("rewrite", pattern)
		if len(pattern) > maxText || pattern == "" {
			p.fault(k, field, "the pattern must have 1 to %d bytes", maxText)
			return
		}
		re := p.pattern(k, field, "", pattern)
		target, ok := p.text(v, field, maxText, false)
		if re == nil || !ok {
			return
		}
		if fault := targetFault(target, re.NumSubexp()); fault != "" {
			p.fault(v, field, "%s", fault)
			return
		}
		rewrites = append(rewrites, Rewrite{Pattern: re, Target: target})
	})
	return rewrites
}

func targetFault(target string, groups int) string {
	if !strings.HasPrefix(target, "/") {
		return fmt.Sprintf("the target %q must be a path that begins with a slash", target)
	}
	if strings.ContainsFunc(target, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Sprintf("the target %q has control characters", target)
	}
	for rest := target; ; {
		_, after, found := strings.Cut(rest, "$")
		if !found {
			return ""
		}
		if after == "" || after[0] < '1' || after[0] > '9' {
			return fmt.Sprintf("the target %q has a $ that is not one of $1 to $9", target)
		}
		if int(after[0]-'0') > groups {
			return fmt.Sprintf("the target %q uses $%c, but the pattern has %d groups", target, after[0], groups)
		}
		rest = after[1:]
	}
}

// page parses the path of an error page. Like a request, a folder stands for its index.html.
func (p *manifestParser) page(n *yaml.Node, field string) string {
	if isNull(n) {
		return ""
	}
	value, ok := p.text(n, field, maxText, false)
	if !ok {
		return ""
	}
	if value == "/" || strings.HasSuffix(value, "/") && value != "" {
		value += "index.html"
	}
	clean := path.Clean(strings.TrimPrefix(value, "/"))
	switch {
	case value == "" || clean == "." || strings.HasPrefix(clean, "/"):
		p.fault(n, field, "must name a file of the bundle, such as 404.html")
	case clean == ".." || strings.HasPrefix(clean, "../"):
		p.fault(n, field, "%q leaves the bundle", value)
	case strings.ContainsFunc(clean, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		p.fault(n, field, "%q has control characters or backslashes", value)
	default:
		return clean
	}
	return ""
}
