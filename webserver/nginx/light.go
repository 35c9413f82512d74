package nginx

import (
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"statiko/bundle"
	"statiko/webserver"
)

// A class with a manifest can have a server block of its own, which costs nginx some hundred kilobytes and a millisecond
// of each reload. Most need none: what their rules ask for fits into maps that all such classes share, in one server
// block, in which a request's rule is looked up by class and path. These are the light ones.
type light struct {
	// rules are the lines of the map from class and path to the key of a rule, in the order of precedence.
	rules string
	// values are what maps have under keys of rules, by the name of the map.
	values           map[string]string
	page403, page404 string
	robots           bool
}

// The names of maps in light.values besides those of headers, which begin with a colon.
const (
	expiresMap = "expires"
	encodedMap = "encoded"
)

// maxHeaderNames bounds the header lines that are looked at for each answer of the shared block.
const maxHeaderNames = 32

// newLight returns how a site is served in the shared block; nil if it needs one of its own.
func newLight(site *webserver.Site, id string) *light {
	m := site.Manifest
	if m == nil || site.Root == "" || len(m.Rules)+len(m.Page403)+len(m.Page404) == 0 || len(m.Rewrites) > 0 {
		return nil
	}
	l := &light{values: map[string]string{}, robots: site.Temporary}
	if m.Page403 != "" {
		l.page403 = quoted("/" + m.Page403)
	}
	if m.Page404 != "" {
		l.page404 = quoted("/" + m.Page404)
	}
	var b strings.Builder
	for _, i := range precedence(m.Rules) {
		rule := &m.Rules[i]
		pattern, ok := lightPattern(rule, id)
		if !ok || len(pattern) > maxToken-100 {
			return nil
		}
		key := id + "." + strconv.Itoa(i)
		switch o := &rule.Options; {
		case o.Deny:
			key = "deny"
		case o.Proxy != nil:
			key = "node"
		default:
			var before strings.Builder
			var d locationData
			if err := d.effect(o, &before); err != nil || d.Type != "" || d.OwnRobots || before.Len() > 0 {
				return nil
			}
			if !l.effects(key, &d) {
				return nil
			}
		}
		fmt.Fprintf(&b, "\"~%s%s\" %s;\n", matchLimit, pattern, key)
	}
	l.rules = b.String()
	return l
}

// effects notes what a rule sets. It returns false for what maps cannot hold.
func (l *light) effects(key string, d *locationData) bool {
	add := func(name, value string) { l.values[name] += key + " " + value + ";\n" }
	if d.Expires != "" {
		add(expiresMap, d.Expires)
	}
	if d.Encoded {
		add(encodedMap, "1")
	}
	seen := map[string]int{}
	for _, h := range d.Headers {
		// A header that is set twice, as Cache-Control is beside expires, has maps for each time.
		name := strings.Trim(h.Name, `"`)
		seen[name]++
		add(":"+strconv.Itoa(seen[name])+":"+name, h.Value)
	}
	return true
}

// precedence orders rules as they apply: exact ones, prefixes from the longest, patterns as written, and the prefix "/".
func precedence(rules []bundle.Rule) []int {
	rank := func(i int) (int, int) {
		switch r := &rules[i]; {
		case r.Matcher == bundle.MatchExact:
			return 0, 0
		case r.Matcher == bundle.MatchPrefix && r.Value == "/":
			return 3, 0
		case r.Matcher == bundle.MatchPrefix:
			return 1, -len(r.Value)
		}
		return 2, 0
	}
	order := make([]int, len(rules))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		a1, a2 := rank(a)
		b1, b2 := rank(b)
		if a1 != b1 {
			return a1 - b1
		}
		return a2 - b2
	})
	return order
}

// lightPattern matches the class, a colon, and a path to which the rule applies. It returns false for a pattern that
// could take more steps than there are characters: nginx takes a match that was given up for none, and in a block of
// its own answers 500.
func lightPattern(rule *bundle.Rule, id string) (string, bool) {
	t := translator{prefix: id}
	t.b.WriteString("^" + id + ":")
	switch rule.Matcher {
	case bundle.MatchExact, bundle.MatchPrefix:
		for i := range len(rule.Value) {
			t.byte(rule.Value[i])
		}
		if rule.Matcher == bundle.MatchExact {
			t.b.WriteString(`\z`)
		}
		return t.b.String(), true
	}
	if rule.Pattern == nil {
		return "", false
	}
	re, err := syntax.Parse(rule.Pattern.String(), syntax.Perl)
	if err != nil {
		return "", false
	}
	loops := unbounded(re)
	if re.Op == syntax.OpBeginText || re.Op == syntax.OpConcat && re.Sub[0].Op == syntax.OpBeginText {
		if loops > 1 {
			return "", false
		}
	} else {
		if loops > 0 {
			return "", false
		}
		t.b.WriteString("(?s:.*?)")
	}
	t.node(re)
	return t.b.String(), true
}

// unbounded counts the repetitions of a pattern that may go on for long.
func unbounded(re *syntax.Regexp) int {
	n := 0
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus:
		n = 1
	case syntax.OpRepeat:
		if re.Max < 0 || re.Max > 8 {
			n = 1
		}
	}
	inner := 0
	for _, sub := range re.Sub {
		inner += unbounded(sub)
	}
	if n > 0 && inner > 0 {
		return 100 // one in another
	}
	return n + inner
}

// shared is what the shared block is made of.
type shared struct {
	domains *list // host names, for the block
	classes *list // host → class
	rules   *list // class and path → key of a rule
	which   *list // class → the map of its rules
	page403 *list
	page404 *list
	robots  *list
	// maps are those of light.values.
	maps map[string]*list
}

func newShared() *shared {
	return &shared{
		domains: newList("ruled"), classes: newList("class"), rules: newList("rules"), which: newSmallList("which"),
		page403: newSmallList("page403"), page404: newSmallList("page404"), robots: newSmallList("robots"), maps: map[string]*list{},
	}
}

func (s *shared) lists() []*list {
	all := []*list{s.domains, s.classes, s.rules, s.which, s.page403, s.page404, s.robots}
	for _, name := range slices.Sorted(maps.Keys(s.maps)) {
		all = append(all, s.maps[name])
	}
	return all
}

// takes tells whether a class fits in.
func (s *shared) takes(l *light) bool {
	n := len(s.maps)
	for name := range l.values {
		if s.maps[name] == nil {
			n++
		}
	}
	return n <= maxHeaderNames
}

// add puts a class into the maps.
func (s *shared) add(id string, l *light) {
	s.rules.set(id, l.rules)
	s.which.set(id, id+" $statiko_rule_"+s.rules.index(id)+";\n")
	if l.page403 != "" {
		s.page403.set(id, id+" "+l.page403+";\n")
	}
	if l.page404 != "" {
		s.page404.set(id, id+" "+l.page404+";\n")
	}
	if l.robots {
		s.robots.set(id, id+" noindex;\n")
	}
	for name, lines := range l.values {
		m := s.maps[name]
		if m == nil {
			m = newSmallList("map-" + variable("m", name)[1:])
			s.maps[name] = m
		}
		m.set(id, lines)
	}
}

// remove takes a class out of them.
func (s *shared) remove(id string, l *light) {
	for _, part := range []*list{s.rules, s.which, s.page403, s.page404, s.robots} {
		part.remove(id)
	}
	for name := range l.values {
		if m := s.maps[name]; m != nil {
			if m.remove(id); m.n == 0 {
				delete(s.maps, name)
			}
		}
	}
}

// sharedData is what the template of the shared block is given.
type sharedData struct {
	Head                     string
	Domains, Classes         []string
	Rules                    []ruleMapData
	Which                    []string
	Page403, Page404, Robots []string
	Expires, Encoded         []string
	Headers                  []headerMapData
}

type ruleMapData struct{ Index, File string }

// headerMapData is a header with the map that has its values.
type headerMapData struct {
	Name, Variable string
	Files          []string
}

// data renders the lists.
func (s *shared) data(files func(*list) []string, head string) *sharedData {
	if s.domains.n == 0 {
		return nil
	}
	d := &sharedData{
		Head: head, Domains: files(s.domains), Classes: files(s.classes), Which: files(s.which),
		Page403: files(s.page403), Page404: files(s.page404), Robots: files(s.robots),
	}
	for _, f := range files(s.rules) {
		d.Rules = append(d.Rules, ruleMapData{strings.Split(f, "-")[1], f})
	}
	for _, name := range slices.Sorted(maps.Keys(s.maps)) {
		names := files(s.maps[name])
		switch name {
		case expiresMap:
			d.Expires = names
		case encodedMap:
			d.Encoded = names
		default:
			header := strings.SplitN(name, ":", 3)[2]
			d.Headers = append(d.Headers, headerMapData{`"` + header + `"`, variable("m", name), names})
		}
	}
	return d
}
