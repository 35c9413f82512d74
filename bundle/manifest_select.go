package bundle

import (
	"slices"
	"sort"
	"strings"
)

// Select returns the one rule that applies to a path, or nil if none does: the exact one; else the longest
// prefix other than "/"; else the first match or file rule in the order written; else the prefix "/". The path
// is decoded and normalised and begins with "/". A nil manifest has no rules.
func (m *Manifest) Select(path string) *Rule {
	if m == nil || len(m.Rules) == 0 {
		return nil
	}
	x := m.index
	if x == nil {
		x = newRuleIndex(m.Rules)
	}
	if i, ok := x.exact[path]; ok {
		return &m.Rules[i]
	}
	if i := x.prefix(path); i >= 0 {
		return &m.Rules[i]
	}
	for _, i := range x.patterns {
		if m.Rules[i].Pattern.MatchString(path) {
			return &m.Rules[i]
		}
	}
	if x.root >= 0 {
		return &m.Rules[x.root]
	}
	return nil
}

// ruleIndex holds positions in Manifest.Rules.
type ruleIndex struct {
	exact    map[string]int
	prefixes []prefixEntry // sorted by prefix
	patterns []int         // match and file rules, in the order written
	root     int           // the prefix "/"; -1 if there is none
}

type prefixEntry struct {
	prefix string
	rule   int
	parent int // in prefixes: the longest other one that this one begins with; -1 if none does
}

func newRuleIndex(rules []Rule) *ruleIndex {
	x := &ruleIndex{exact: map[string]int{}, root: -1}
	for i, r := range rules {
		switch r.Matcher {
		case MatchExact:
			x.exact[r.Value] = i
		case MatchPrefix:
			if r.Value == "/" {
				x.root = i
			} else {
				x.prefixes = append(x.prefixes, prefixEntry{prefix: r.Value, rule: i})
			}
		case MatchRegexp, MatchFile:
			if r.Pattern != nil {
				x.patterns = append(x.patterns, i)
			}
		}
	}
	slices.SortStableFunc(x.prefixes, func(a, b prefixEntry) int { return strings.Compare(a.prefix, b.prefix) })
	for i := range x.prefixes {
		parent := i - 1
		for parent >= 0 && !strings.HasPrefix(x.prefixes[i].prefix, x.prefixes[parent].prefix) {
			parent = x.prefixes[parent].parent
		}
		x.prefixes[i].parent = parent
	}
	return x
}

// prefix returns the rule with the longest prefix of path, or -1.
//
// Every prefix of path sorts at or before path, and whatever sorts between the two begins with it. So the
// longest one is the last entry not after path, or one that this entry begins with.
func (x *ruleIndex) prefix(path string) int {
	i := sort.Search(len(x.prefixes), func(i int) bool { return x.prefixes[i].prefix > path }) - 1
	for i >= 0 && !strings.HasPrefix(path, x.prefixes[i].prefix) {
		i = x.prefixes[i].parent
	}
	if i < 0 {
		return -1
	}
	return x.prefixes[i].rule
}
