package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Name returns a site's domain: its group, and a number within.
func Name(prefix string, group, number int) string {
	return fmt.Sprintf("%sg%d-n%d.example.org", prefix, group, number)
}

// Alias returns a name that sites of a group want as an alias, and none as its domain: the API takes any name of a site,
// and so a call would be of another site than it says.
func Alias(prefix string, group, number int) string {
	return fmt.Sprintf("%sg%d-a%d.example.org", prefix, group, number)
}

// groupOf is the part of a name that says which group it is of; a name that is none is a group of its own.
func groupOf(domain string) string {
	g, _, _ := strings.Cut(domain, "-")
	return g
}

// model is what a group has, as "domain=alias,alias", sorted: porcupine compares it.
type model = string

func (s Sites) model() model {
	var all []string
	for domain, aliases := range s {
		all = append(all, domain+"="+strings.Join(aliases, ","))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func sitesOf(m model) Sites {
	s := Sites{}
	for one := range strings.FieldsSeq(m) {
		domain, aliases, _ := strings.Cut(one, "=")
		s[domain] = strings.FieldsFunc(aliases, func(r rune) bool { return r == ',' })
	}
	return s
}

// of returns the sites of one group.
func (s Sites) of(group string) Sites {
	part := Sites{}
	for domain, aliases := range s {
		if groupOf(domain) == group {
			part[domain] = aliases
		}
	}
	return part
}

// taken tells whether another site has one of the names.
func (s Sites) taken(domain string, aliases []string) bool {
	for other, names := range s {
		if other == domain {
			continue
		}
		for _, name := range append([]string{domain}, aliases...) {
			if name == other || slices.Contains(names, name) {
				return true
			}
		}
	}
	return false
}

// step is what a single copy of the group would answer, and what it would be afterwards.
func step(m model, c *Call) (string, model) {
	s := sitesOf(m)
	_, there := s[c.Domain]
	switch c.Op {
	case Add:
		if there || s.taken(c.Domain, c.Aliases) {
			return Exists, m
		}
	case Change:
		if !there {
			return Missing, m
		}
		if s.taken(c.Domain, c.Aliases) {
			return Exists, m
		}
	case Remove:
		if !there {
			return Missing, m
		}
		delete(s, c.Domain)
		return OK, s.model()
	case Restore:
		return OK, c.Sites.model()
	case Read:
		if c.Sites.model() != m {
			return "other", m
		}
		return OK, m
	}
	s[c.Domain] = c.Aliases
	return OK, s.model()
}

var sitesModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{""} },
	Step: func(m, input, _ any) []any {
		c := input.(*Call)
		result, next := step(m.(model), c)
		switch c.Result {
		case Unknown:
			return []any{m, next}
		case Refused:
			return []any{m}
		case result:
			return []any{next}
		}
		return nil
	},
	DescribeOperation: func(input, _ any) string {
		c := input.(*Call)
		return fmt.Sprintf("%s %s %v → %s", c.Op, c.Domain, c.Aliases, c.Result)
	},
}

// Linearizable is an error if there is a group whose calls are not those of a single copy, which was empty at first;
// and one if that could not be found out in time.
func (r *Recorder) Linearizable(timeout time.Duration) error {
	groups := r.groups()
	deadline := time.Now().Add(timeout)
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		switch porcupine.CheckOperationsTimeout(sitesModel.ToModel(), groups[g], max(time.Until(deadline), time.Second)) {
		case porcupine.Illegal:
			return fmt.Errorf("the history of the group %s is not that of a single copy:\n%s", g, lines(groups[g]))
		case porcupine.Unknown:
			return fmt.Errorf("whether the %d calls of the group %s are those of a single copy was not found out in time", len(groups[g]), g)
		}
	}
	return nil
}

// groups returns the calls of each group. What was certainly not made says nothing.
func (r *Recorder) groups() map[string][]porcupine.Operation {
	calls := r.Calls()
	names := map[string]bool{}
	for _, c := range calls {
		if c.Domain != "" {
			names[groupOf(c.Domain)] = true
		}
		for domain := range c.Sites {
			names[groupOf(domain)] = true
		}
	}
	groups := map[string][]porcupine.Operation{}
	for i := range calls {
		c := &calls[i]
		if c.Result == Refused {
			continue
		}
		to := []string{groupOf(c.Domain)}
		if c.Domain == "" {
			to = slices.Collect(maps.Keys(names))
		}
		for _, g := range to {
			one := *c
			one.Sites = c.Sites.of(g)
			o := porcupine.Operation{ClientId: c.Client, Input: &one, Call: int64(c.Begin), Output: nil, Return: int64(c.End)}
			if c.Result == Unknown {
				o.Return = never
			}
			groups[g] = append(groups[g], o)
		}
	}
	return groups
}

func lines(operations []porcupine.Operation) string {
	slices.SortFunc(operations, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text strings.Builder
	for _, o := range operations {
		c := o.Input.(*Call)
		fmt.Fprintf(&text, "%8.3f–%8.3f %s through %s: %s %s %v %v → %s (revision %d) %s\n", c.Begin.Seconds(), c.End.Seconds(),
			fmt.Sprint("client ", c.Client), c.Node, c.Op, c.Domain, c.Aliases, c.Sites.model(), c.Result, c.Revision, c.Error)
	}
	return text.String()
}
