package bundle

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

func (p *manifestParser) rules(n *yaml.Node) []Rule {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		p.fault(n, "rules", "must be a list, not %s", kindOf(n))
		return nil
	}
	if len(n.Content) > maxRules {
		p.fault(n, "rules", "has %d rules; at most %d are read", len(n.Content), maxRules)
		return nil
	}
	rules := make([]Rule, 0, len(n.Content))
	seen := map[string]int{} // matcher and value of exact and prefix rules, of which a second would never apply
	for i, item := range n.Content {
		r := p.rule(resolve(item), fmt.Sprintf("rules[%d]", i))
		r.Line = item.Line
		if r.Matcher == MatchExact || r.Matcher == MatchPrefix {
			key := string(r.Matcher) + " " + r.Value
			if first, ok := seen[key]; ok {
				p.fault(item, fmt.Sprintf("rules[%d].%s", i, r.Matcher), "rules[%d] has the same %s; put the options of both into one rule", first, r.Matcher)
			} else {
				seen[key] = i
			}
		}
		rules = append(rules, r)
	}
	return rules
}

func (p *manifestParser) rule(n *yaml.Node, field string) Rule {
	var (
		r             Rule
		matchers      []string
		sensitive     *yaml.Node
		options       *yaml.Node
		before        = len(p.faults)
		value, valueN = "", n
	)
	if isNull(n) {
		p.fault(n, field, "is empty; a rule needs one of exact, prefix, match, file")
		return r
	}
	p.mapping(n, field, 0, func(key string, k, v *yaml.Node) {
		switch Matcher(key) {
		case MatchExact, MatchPrefix, MatchRegexp, MatchFile:
			matchers = append(matchers, key)
			s, ok := p.text(v, join(field, key), maxText, false)
			if ok && s == "" {
				p.fault(v, join(field, key), "must not be empty")
			}
			r.Matcher, value, valueN = Matcher(key), s, v
		case "caseSensitive":
			sensitive, r.CaseSensitive = k, p.boolean(v, join(field, key))
		case "options":
			options = v
		default:
			p.unknown(k, field, key, "exact, prefix, match, file, caseSensitive, options")
		}
	})
	switch {
	case len(matchers) == 0 && len(p.faults) == before:
		p.fault(n, field, "needs one of exact, prefix, match, file")
	case len(matchers) > 1:
		p.fault(n, field, "has %s; a rule has exactly one of them", strings.Join(matchers, " and "))
	}
	if sensitive != nil && len(matchers) > 0 && r.Matcher != MatchRegexp {
		p.fault(sensitive, field+".caseSensitive", "goes with match only, not with %s", r.Matcher)
	}
	if len(matchers) == 1 && value != "" {
		r.Value = value
		p.matcher(&r, valueN, join(field, matchers[0]))
	}
	if options != nil {
		r.Options = p.options(options, join(field, "options"), r.Matcher)
	}
	return r
}

func (p *manifestParser) matcher(r *Rule, n *yaml.Node, field string) {
	switch r.Matcher {
	case MatchExact, MatchPrefix:
		if fault := pathFault(r.Value, r.Matcher == MatchExact); fault != "" {
			p.fault(n, field, "%s", fault)
		}
	case MatchRegexp:
		flags := "(?i)"
		if r.CaseSensitive {
			flags = ""
		}
		r.Pattern = p.pattern(n, field, flags, r.Value)
	case MatchFile:
		pattern, fault := filePattern(r.Value)
		if fault != "" {
			p.fault(n, field, "%s", fault)
			return
		}
		r.Pattern = p.pattern(n, field, "", pattern)
	}
}

// pathFault says why a path can never be that of a request: requests are compared decoded and normalised.
func pathFault(path string, whole bool) string {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Sprintf("%q must begin with a slash", path)
	case !utf8.ValidString(path), strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Sprintf("%q has control characters", path)
	case strings.Contains(path, "//"):
		return fmt.Sprintf("%q can match nothing: paths are compared after double slashes are merged", path)
	case strings.Contains(path, "/./"), strings.Contains(path, "/../"),
		whole && (strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")):
		return fmt.Sprintf("%q can match nothing: paths are compared after . and .. are resolved", path)
	}
	return ""
}

// pattern compiles an RE2 pattern after bounding what it compiles to; nil after a fault.
func (p *manifestParser) pattern(n *yaml.Node, field, flags, pattern string) *regexp.Regexp {
	parsed, err := syntax.Parse(flags+pattern, syntax.Perl)
	if err == nil {
		prog, cerr := syntax.Compile(parsed.Simplify())
		err = cerr
		if err == nil {
			p.insts += len(prog.Inst)
			switch {
			case len(prog.Inst) > maxPatternInsts:
				p.fault(n, field, "the pattern is too large: it compiles to %d steps, at most %d are allowed; use smaller repetitions", len(prog.Inst), maxPatternInsts)
				return nil
			case p.insts > maxTotalInsts:
				p.fault(n, field, "all patterns together are too large; use fewer or smaller repetitions")
				return nil
			}
		}
	}
	var re *regexp.Regexp
	if err == nil {
		re, err = regexp.Compile(flags + pattern)
	}
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		p.fault(n, field, "%q is not an RE2 pattern: %s", pattern, reason)
		return nil
	}
	return re
}
