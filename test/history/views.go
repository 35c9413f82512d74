package history

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// View is what a node showed once.
type View struct {
	Node string `json:"node"`
	// Start is which start of the node's process it was.
	Start    int           `json:"start"`
	Revision int64         `json:"revision"`
	Begin    time.Duration `json:"begin"`
	End      time.Duration `json:"end"`
	Sites    Sites         `json:"sites"`
}

// Views keeps what nodes showed. The views of one start of a node must be noted in their order. It is safe for concurrent
// use.
type Views struct {
	mu   sync.Mutex
	all  []View
	last map[string]int
}

// Note keeps a view. Of several in a row that are the same, the first is kept: it proves most.
func (v *Views) Note(one View) {
	for _, aliases := range one.Sites {
		slices.Sort(aliases)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last == nil {
		v.last = map[string]int{}
	}
	if i, ok := v.last[one.Node]; ok {
		before := v.all[i]
		if before.Start == one.Start && before.Revision == one.Revision && before.Sites.model() == one.Sites.model() {
			return
		}
	}
	v.last[one.Node] = len(v.all)
	v.all = append(v.all, one)
}

// Len is how many different views there are.
func (v *Views) Len() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.all)
}

// Write writes the views, one a line, as JSON.
func (v *Views) Write(w io.Writer) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := json.NewEncoder(w)
	for _, one := range v.all {
		if err := e.Encode(one); err != nil {
			return err
		}
	}
	return nil
}

// Judge is an error if a node's view went backwards, if two views of one revision differ, or if a view lacks a change
// that was acknowledged at its revision or before, or has one that nobody asked for. The calls are all from the revision
// since on: what was before is not judged, except that it must not go backwards.
func (v *Views) Judge(calls []Call, since int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, same := map[string]*View{}, map[int64]*View{}
	truth := newTruth(calls)
	for i := range v.all {
		one := &v.all[i]
		node := fmt.Sprint(one.Node, " start ", one.Start)
		if before := last[node]; before != nil && before.Revision > one.Revision {
			return fmt.Errorf("%s showed revision %d and then, at %.3f s, %d", node, before.Revision, one.End.Seconds(), one.Revision)
		}
		last[node] = one
		if one.Revision < since {
			continue
		}
		if other := same[one.Revision]; other == nil {
			same[one.Revision] = one
		} else if a, b := other.Sites.model(), one.Sites.model(); a != b {
			return fmt.Errorf("at revision %d, %s showed\n%s\nand %s\n%s", one.Revision, other.Node, a, one.Node, b)
		}
		if err := truth.judge(one); err != nil {
			return err
		}
	}
	return nil
}

// truth is what the acknowledged calls say about each revision.
type truth struct {
	// made are the acknowledged changes of each domain, and the restores, by revision.
	made     map[string][]*Call
	restores []*Call
	// unknown are calls of unknown outcome of each domain; "" are restores.
	unknown map[string][]*Call
	domains map[string]bool
}

func newTruth(calls []Call) *truth {
	t := &truth{made: map[string][]*Call{}, unknown: map[string][]*Call{}, domains: map[string]bool{}}
	for i := range calls {
		c := &calls[i]
		for domain := range c.Sites {
			t.domains[domain] = true
		}
		if c.Domain != "" {
			t.domains[c.Domain] = true
		}
		switch {
		case c.Op == Read:
		case c.Result == Unknown:
			t.unknown[c.Domain] = append(t.unknown[c.Domain], c)
		case c.Result == OK && c.Op == Restore:
			t.restores = append(t.restores, c)
		case c.Result == OK:
			t.made[c.Domain] = append(t.made[c.Domain], c)
		}
	}
	byRevision := func(a, b *Call) int { return int(a.Revision - b.Revision) }
	slices.SortFunc(t.restores, byRevision)
	for _, list := range t.made {
		slices.SortFunc(list, byRevision)
	}
	return t
}

// lastAt returns the last call at the revision or before; nil if there is none.
func lastAt(list []*Call, revision int64) *Call {
	i, _ := slices.BinarySearchFunc(list, revision+1, func(c *Call, r int64) int { return int(c.Revision - r) })
	if i == 0 {
		return nil
	}
	return list[i-1]
}

func (t *truth) judge(v *View) error {
	for domain := range v.Sites {
		if !t.domains[domain] {
			return fmt.Errorf("%s shows %s at revision %d, which nobody asked for", v.Node, domain, v.Revision)
		}
	}
	if begunBefore(t.unknown[""], v.End) {
		// A restore that may have happened says nothing for sure about any site.
		return nil
	}
	restored := lastAt(t.restores, v.Revision)
	for domain := range t.domains {
		if begunBefore(t.unknown[domain], v.End) {
			continue
		}
		by := lastAt(t.made[domain], v.Revision)
		want, there := []string(nil), false
		switch {
		case restored != nil && (by == nil || by.Revision < restored.Revision):
			by = restored
			want, there = restored.Sites[domain]
		case by != nil && by.Op != Remove:
			want, there = by.Aliases, true
		}
		if got, has := v.Sites[domain]; has != there || !slices.Equal(got, want) {
			what := "nobody changed it"
			if by != nil {
				what = fmt.Sprintf("acknowledged was %s at revision %d by client %d through %s", by.Op, by.Revision, by.Client, by.Node)
			}
			return fmt.Errorf("at %.3f s, at revision %d, %s has %s: %t %v, but should: %t %v (%s)",
				v.End.Seconds(), v.Revision, v.Node, domain, has, got, there, want, what)
		}
	}
	return nil
}

func begunBefore(calls []*Call, at time.Duration) bool {
	return slices.ContainsFunc(calls, func(c *Call) bool { return c.Begin < at })
}
