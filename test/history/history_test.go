package history

import (
	"strings"
	"testing"
	"time"
)

const (
	a = "g0-n0.example.org"
	b = "g0-n1.example.org"
)

// calls are made one after the other, each a second long.
func recorded(calls ...Call) *Recorder {
	r := NewRecorder()
	for i, c := range calls {
		if c.End == 0 {
			c.Begin, c.End = time.Duration(2*i)*time.Second, time.Duration(2*i+1)*time.Second
		}
		c.Client = i
		r.Note(c)
	}
	return r
}

// Histories that a single copy could have, and those that it could not.
func TestLinearizable_TellsGoodFromBad(t *testing.T) {
	add := func(domain, result string, aliases ...string) Call {
		return Call{Op: Add, Domain: domain, Aliases: aliases, Result: result}
	}
	remove := func(domain, result string) Call { return Call{Op: Remove, Domain: domain, Result: result} }
	read := func(domains ...string) Call {
		s := Sites{}
		for _, d := range domains {
			s[d] = nil
		}
		return Call{Op: Read, Result: OK, Sites: s}
	}
	late := add(a, OK)
	late.Begin, late.End = 1, 10*time.Second
	for name, test := range map[string]struct {
		good  bool
		calls []Call
	}{
		"one after the other":             {true, []Call{add(a, OK), add(a, Exists), remove(a, OK), remove(a, Missing), read()}},
		"a lost change":                   {false, []Call{add(a, OK), read()}},
		"a change nobody made":            {false, []Call{read(a), add(a, OK)}},
		"a false refusal":                 {false, []Call{add(a, OK), remove(a, OK), add(a, Exists)}},
		"two owners of a name":            {false, []Call{add(a, OK, b), add(b, OK)}},
		"unknown, and made":               {true, []Call{add(a, Unknown), add(b, OK), read(a, b)}},
		"unknown, and not made":           {true, []Call{add(a, Unknown), add(b, OK), read(b)}},
		"unknown, made after a look":      {true, []Call{add(a, Unknown), read(), read(a)}},
		"refused, and yet made":           {false, []Call{add(a, Refused), read(a)}},
		"concurrent":                      {true, []Call{late, remove(a, OK), read()}},
		"a restore that keeps all":        {false, []Call{add(a, OK), {Op: Restore, Result: OK, Sites: Sites{b: nil}}, read(a, b)}},
		"a restore":                       {true, []Call{add(a, OK), {Op: Restore, Result: OK, Sites: Sites{b: nil}}, read(b)}},
		"a change of what is not there":   {false, []Call{{Op: Change, Domain: a, Result: OK}}},
		"a change with another's name":    {false, []Call{add(a, OK), add(b, OK), {Op: Change, Domain: a, Aliases: []string{b}, Result: OK}}},
		"a change to a name of its own":   {true, []Call{add(a, OK), {Op: Change, Domain: a, Aliases: []string{b}, Result: OK}, add(b, Exists)}},
		"an alias that was given up":      {true, []Call{add(a, OK, b), {Op: Change, Domain: a, Result: OK}, add(b, OK)}},
		"an unknown removal that is seen": {true, []Call{add(a, OK), remove(a, Unknown), add(a, OK)}},
	} {
		err := recorded(test.calls...).Linearizable(10 * time.Second)
		if (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Views that a faulty node could show are found.
func TestViews_FaultsAreFound(t *testing.T) {
	calls := []Call{
		{Op: Add, Domain: a, Result: OK, Revision: 5, Begin: 1, End: 2},
		{Op: Add, Domain: b, Result: OK, Revision: 7, Begin: 3, End: 4},
		{Op: Remove, Domain: a, Result: OK, Revision: 9, Begin: 5, End: 6},
		{Op: Restore, Result: OK, Revision: 11, Sites: Sites{a: {"x"}}, Begin: 7, End: 8},
		{Op: Remove, Domain: b, Result: Unknown, Begin: 90, End: 91},
	}
	one := func(node string, revision int64, sites Sites) View {
		return View{Node: node, Revision: revision, Begin: 20, End: 21, Sites: sites}
	}
	after := one("n", 11, Sites{a: {"x"}, b: nil})
	after.End = 100
	for name, test := range map[string]struct {
		fault string
		views []View
	}{
		"all as it was":             {"", []View{one("n", 4, nil), one("n", 5, Sites{a: nil}), one("m", 7, Sites{a: nil, b: nil}), one("n", 10, Sites{b: nil}), one("n", 11, Sites{a: {"x"}})}},
		"backwards":                 {"and then", []View{one("n", 7, Sites{a: nil, b: nil}), one("n", 5, Sites{a: nil})}},
		"a change left out":         {"should: true", []View{one("n", 7, Sites{b: nil})}},
		"a removal left out":        {"should: false", []View{one("n", 9, Sites{a: nil, b: nil})}},
		"half a restore":            {"should: false", []View{one("n", 11, Sites{a: {"x"}, b: nil})}},
		"other aliases":             {"should: true", []View{one("n", 11, Sites{a: {"y"}})}},
		"two of one revision":       {"at revision 6", []View{one("n", 6, Sites{a: nil}), one("m", 6, nil)}},
		"nobody asked for it":       {"nobody asked", []View{one("n", 4, Sites{"z.example.org": nil})}},
		"an unknown change may be":  {"", []View{after}},
		"another start may be back": {"", []View{one("n", 7, Sites{a: nil, b: nil}), {Node: "n", Start: 1, Revision: 5, Sites: Sites{a: nil}, End: 30}}},
	} {
		var v Views
		for _, view := range test.views {
			v.Note(view)
		}
		err := v.Judge(calls, 0)
		if test.fault == "" && err != nil || test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
