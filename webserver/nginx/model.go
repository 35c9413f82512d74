package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"statiko/webserver"
)

// largeClass is from how many sites on the names of a class stand in files of their own.
const largeClass = 200

// model is what the configuration is made of. It changes by single sites, and knows which files that touches.
type model struct {
	sites   map[string]*entry
	names   *list // name → domain
	pairs   *list // name → pair
	small   *list // classes with few sites
	shared  *shared
	classes map[string]*classUse
	// users counts the sites that present a pair.
	users map[string]int
	// changes counts what a reload is needed for.
	changes uint64
}

// entry is one site.
type entry struct {
	site  *webserver.Site
	class *class
	pair  string
}

// classUse is a class with its sites.
type classUse struct {
	class   *class
	domains map[string]bool
	// large is nil while there are few.
	large *list
	// light tells that it is in the shared block.
	light bool
}

func newModel() *model {
	return &model{
		sites: map[string]*entry{}, names: newList("names"), pairs: newList("pairs"), small: newList("sites"), shared: newShared(),
		classes: map[string]*classUse{}, users: map[string]int{},
	}
}

// lists returns all lists in a fixed order.
func (m *model) lists() []*list {
	all := append([]*list{m.names, m.pairs, m.small}, m.shared.lists()...)
	for _, id := range slices.Sorted(maps.Keys(m.classes)) {
		if l := m.classes[id].large; l != nil {
			all = append(all, l)
		}
	}
	return all
}

// put makes a site as the entry says; nil removes it.
func (m *model) put(domain string, e *entry, head func(*class) string) {
	old := m.sites[domain]
	if old != nil && e != nil && old.class.id == e.class.id && old.pair == e.pair && slices.Equal(old.site.Aliases, e.site.Aliases) {
		m.sites[domain] = e // another bundle, which is a matter of its link alone
		return
	}
	m.changes++
	if old != nil {
		for _, name := range append([]string{domain}, old.site.Aliases...) {
			// Another site may have taken the name already.
			if m.holder(name) == domain {
				m.names.remove(name)
				m.pairs.remove(name)
			}
		}
		if m.users[old.pair]--; m.users[old.pair] == 0 {
			delete(m.users, old.pair)
		}
		if e == nil || e.class.id != old.class.id {
			m.leave(old.class.id, domain, head)
		}
		delete(m.sites, domain)
	}
	if e == nil {
		return
	}
	m.sites[domain] = e
	m.users[e.pair]++
	for _, name := range append([]string{domain}, e.site.Aliases...) {
		m.names.set(name, name+" "+domain+";\n")
		m.pairs.set(name, name+" "+e.pair+";\n")
	}
	if old == nil || old.class.id != e.class.id {
		m.join(e.class, domain, head)
	}
}

// holder returns the domain that has a name.
func (m *model) holder(name string) string {
	line := m.names.shard(name).lines[name]
	_, domain, _ := strings.Cut(strings.TrimSuffix(line, ";\n"), " ")
	return domain
}

func (m *model) join(c *class, domain string, head func(*class) string) {
	u := m.classes[c.id]
	if u == nil {
		u = &classUse{class: c, domains: map[string]bool{}}
		m.classes[c.id] = u
		if c.light != nil && m.shared.takes(c.light) {
			u.light = true
			m.shared.add(c.id, c.light)
		}
	}
	u.domains[domain] = true
	switch {
	case u.light:
		m.shared.domains.set(domain, "server_name "+domain+";\n")
		m.shared.classes.set(domain, domain+" "+c.id+";\n")
	case u.large != nil:
		u.large.set(domain, "server_name "+domain+";\n")
	case len(u.domains) > largeClass:
		m.small.remove(c.id)
		u.large = newList("class-" + c.id)
		for d := range u.domains {
			u.large.set(d, "server_name "+d+";\n")
		}
	default:
		m.small.set(c.id, u.text(head))
	}
}

func (m *model) leave(id, domain string, head func(*class) string) {
	u := m.classes[id]
	if u == nil {
		return
	}
	delete(u.domains, domain)
	if u.light {
		// The site may be of another light class already.
		if line := m.shared.classes.shard(domain).lines[domain]; line == domain+" "+id+";\n" {
			m.shared.domains.remove(domain)
			m.shared.classes.remove(domain)
		}
		if len(u.domains) == 0 {
			m.shared.remove(id, u.class.light)
			delete(m.classes, id)
		}
		return
	}
	switch {
	case len(u.domains) == 0:
		m.small.remove(id)
		delete(m.classes, id)
	case u.large == nil:
		m.small.set(id, u.text(head))
	case len(u.domains) <= largeClass/2:
		u.large = nil
		m.small.set(id, u.text(head))
	default:
		u.large.remove(domain)
	}
}

// text is the server block of a class with few sites.
func (u *classUse) text(head func(*class) string) string {
	var b strings.Builder
	b.WriteString(u.class.before)
	b.WriteString("server {\n")
	b.WriteString(head(u.class))
	b.WriteString("\tserver_name")
	for _, d := range slices.Sorted(maps.Keys(u.domains)) {
		b.WriteString("\n\t\t" + d)
	}
	b.WriteString(";\n")
	b.WriteString(u.class.body)
	b.WriteString("}\n")
	return b.String()
}

// needs tells whether a file is part of what the model says.
func (m *model) needs(p paths, path string) bool {
	dir, name := filepath.Dir(path), filepath.Base(path)
	if dir == p.pairs {
		return m.users[strings.TrimSuffix(name, pairSuffix)] > 0
	}
	e := m.sites[name]
	return e != nil && filepath.Base(dir) == e.class.id
}

const pairSuffix = ".pem"

// digestPair names a pair. It is one-way: a key is far too random to be guessed from it.
func digestPair(p webserver.Pair) string {
	h := sha256.New()
	h.Write(p.CertificatePEM)
	h.Write([]byte{0})
	h.Write(p.KeyPEM)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
