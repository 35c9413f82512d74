package builtin

import (
	"github.com/tidwall/btree"

	"statiko/bundle"
)

// table is which name belongs to which site. A published table never changes: Apply changes a copy, which
// shares all but the touched nodes, so that one change among n names costs O(log n).
type table struct {
	// names holds domains and aliases. Only its methods that do not mutate may be called on a published table.
	names btree.Map[string, *site]
}

// find returns the site that has this domain or alias, or nil.
func (t *table) find(name string) *site {
	if name == "" {
		return nil
	}
	site, _ := t.names.Get(name)
	return site
}

// copy must only be called under the lock of Apply: it marks the nodes of both tables as shared.
func (t *table) copy() *table { return &table{names: *t.names.Copy()} }

func (t *table) add(s *site) {
	for _, name := range s.names {
		t.names.Set(name, s)
	}
}

func (t *table) remove(s *site) {
	for _, name := range s.names {
		t.names.Delete(name)
	}
}

// site is what is served under a domain. It is immutable, and small: there may be 100,000 of them.
type site struct {
	domain    string
	names     []string // domain, then aliases
	temporary bool
	pair      *pair
	root      string // of the staged bundle; "" without one
	version   string
	manifest  *bundle.Manifest
	rules     map[*bundle.Rule]*ruleEffect
}
