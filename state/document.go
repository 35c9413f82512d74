package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
)

// Document is a state document that was read: all objects of the document's kinds, checked, in their stored form
// and in the order of their names.
type Document struct {
	// KeyID names the key that seals the secrets; "" if the document does not say, as those of the earlier
	// program.
	KeyID string
	// Revision is that of the file that the document was; 0 if it does not say.
	Revision int64
	// Repairs says, for people, what [LoadDocument] repaired or quarantined.
	Repairs []string
	// Extra are members that this version does not know. Only [LoadDocument] lets them pass.
	Extra map[string]json.RawMessage

	objects [len(kinds)][]Object
	// present tells which kinds' members the document had.
	present [len(kinds)]bool
}

// Has tells whether the document says anything about the kind: those of the earlier program have no bundles.
func (d *Document) Has(kind Kind) bool {
	r := kind.rank()
	return r >= 0 && d.present[r]
}

// Inherit makes a document that does not say anything about the kind have its objects in the snapshot.
func (d *Document) Inherit(kind Kind, s *Snapshot) {
	r := kind.rank()
	if r < 0 || d.present[r] {
		return
	}
	d.objects[r], d.present[r] = slices.Collect(s.Objects(kind)), true
}

// Members of the document beside the kinds.
const (
	memberKeyID    = "keyId"
	memberRevision = "revision"
)

// All yields all objects, kind by kind in the table's order.
func (d *Document) All() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for _, os := range d.objects {
			for _, o := range os {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// Objects returns the kind's objects in the order of their names. They must not be changed.
func (d *Document) Objects(kind Kind) []Object {
	if r := kind.rank(); r >= 0 {
		return d.objects[r]
	}
	return nil
}

// ParseDocument reads a state document strictly, for a restore. What is harmless is repaired (letter case of names;
// a site without TLS member is self-signed). For anything else the error is an [*InvalidError] that has every fault
// with its place: malformed JSON, no sites member, unknown members of the document, names that are none or stand
// twice, imported certificates that are used and missing, … Whether secrets can be opened is not looked at.
func ParseDocument(data []byte) (*Document, error) {
	p := documentParser{data: data, strict: true}
	return p.parse()
}

// LoadDocument reads a state document as a node does at its start: what [ParseDocument] calls a fault of a single
// object puts that object into quarantine instead; of two objects with one name the first is kept. Only a document
// that is not JSON, or not shaped like a state document, is an error, an [*InvalidError].
func LoadDocument(data []byte) (*Document, error) {
	p := documentParser{data: data}
	return p.parse()
}

type documentParser struct {
	data   []byte
	strict bool
	doc    Document
	faults []Fault
	// owner maps each name of a site to the site's domain.
	owner map[string]string
	// places has, for a strict parse, the element of each site by domain.
	places map[string]element
}

// element is one object in the document.
type element struct {
	kind   Kind
	path   string
	name   string
	raw    []byte
	offset int
}

func (p *documentParser) parse() (*Document, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(p.data, &whole); err != nil {
		offset := len(p.data)
		if s, ok := err.(*json.SyntaxError); ok {
			offset = int(s.Offset)
			if offset < len(p.data) || s.Error() != "unexpected end of JSON input" {
				// It counts the offending byte as read.
				offset--
			}
		}
		p.faultAt(offset, "", "is not JSON: "+err.Error())
		return nil, invalid("state document", p.faults)
	}
	p.owner, p.places = map[string]string{}, map[string]element{}
	p.readMembers()
	if p.strict {
		p.checkUses()
	}
	if len(p.faults) > 0 {
		sort.SliceStable(p.faults, func(i, j int) bool { return p.faults[i].Line < p.faults[j].Line })
		return nil, invalid("state document", p.faults)
	}
	for i := range p.doc.objects {
		os := p.doc.objects[i]
		sort.Slice(os, func(a, b int) bool { return os[a].Key().Name < os[b].Key().Name })
	}
	return &p.doc, nil
}

// readMembers walks the document, which is known to be JSON.
func (p *documentParser) readMembers() {
	dec := json.NewDecoder(bytes.NewReader(p.data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		p.faultAt(0, "", "is not a JSON object")
		return
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			p.faultAt(int(dec.InputOffset()), "", "cannot be read")
			return
		}
		at := int(dec.InputOffset()) - len(name) - 2
		if seen[name] {
			p.faultAt(at, name, "stands twice")
			return
		}
		seen[name] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			p.faultAt(int(dec.InputOffset()), name, plainJSONError(err))
			return
		}
		p.readMember(name, raw, int(dec.InputOffset())-len(raw))
	}
	if p.strict && !seen[string(KindSite)] {
		p.faultAt(0, "sites", `is missing: a state document has a member "sites", an array, even if it is empty`)
	}
}

func (p *documentParser) readMember(name string, raw json.RawMessage, offset int) {
	switch name {
	case memberKeyID:
		if err := json.Unmarshal(raw, &p.doc.KeyID); err != nil {
			p.faultAt(offset, name, "is not text")
		}
		return
	case memberRevision:
		if err := json.Unmarshal(raw, &p.doc.Revision); err != nil || p.doc.Revision < 0 {
			p.faultAt(offset, name, "is not a positive number")
		}
		return
	}
	r := Kind(name).rank()
	if r < 0 || kinds[r].layout == notInDocument {
		if p.strict {
			p.faultAt(offset, name, "is not a member of a state document that this version knows")
			return
		}
		if p.doc.Extra == nil {
			p.doc.Extra = map[string]json.RawMessage{}
		}
		p.doc.Extra[name] = raw
		return
	}
	p.doc.present[r] = true
	if string(raw) == "null" {
		p.doc.present[r] = false
		if p.strict && kinds[r].kind == KindSite {
			p.faultAt(offset, name, "is null, not an array")
		}
		return
	}
	p.readKind(kinds[r], raw, offset)
}

// readKind reads all objects of one kind.
func (p *documentParser) readKind(k kindInfo, raw []byte, offset int) {
	member := string(k.kind)
	if k.layout == asSingle {
		p.readObject(k, element{kind: k.kind, path: member, raw: raw, offset: offset})
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	want, what := json.Delim('['), "an array"
	if k.layout == asMap {
		want, what = '{', "an object"
	}
	if t, err := dec.Token(); err != nil || t != want {
		p.faultAt(offset, member, "is not "+what)
		return
	}
	seen := map[string]bool{}
	for i := 0; dec.More(); i++ {
		e := element{kind: k.kind, path: fmt.Sprintf("%s[%d]", member, i)}
		if k.layout == asMap {
			t, err := dec.Token()
			if err != nil {
				return
			}
			e.name, _ = t.(string)
			e.path = fmt.Sprintf("%s[%q]", member, e.name)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return
		}
		e.raw, e.offset = v, offset+int(dec.InputOffset())-len(v)
		if k.layout == asMap && seen[e.name] {
			p.reject(e, []Fault{{Message: "stands twice"}})
			continue
		}
		seen[e.name] = true
		p.readObject(k, e)
	}
}

// readObject decodes, checks and keeps one object.
func (p *documentParser) readObject(k kindInfo, e element) {
	o, err := k.decode(e.name, e.raw)
	if err != nil {
		f := Fault{Message: plainJSONError(err)}
		if m, ok := err.(*memberError); ok {
			f = Fault{Field: m.member, Message: plainJSONError(m.err)}
		}
		p.reject(e, []Fault{f})
		return
	}
	var before *Site
	if site, ok := o.(*Site); ok && !p.strict {
		before = site.Clone()
	}
	if faults := normalize(o); len(faults) > 0 {
		p.reject(e, faults)
		return
	}
	if k.kind != KindSite {
		r := k.kind.rank()
		if k.layout == asList && p.taken(o.Key()) {
			p.reject(e, []Fault{{Field: "name", Message: fmt.Sprintf("%s stands twice", describe(o.Key()))}})
			return
		}
		p.doc.objects[r] = append(p.doc.objects[r], o)
		return
	}
	site := o.(*Site)
	if faults := p.claim(site); len(faults) > 0 {
		p.reject(e, faults)
		return
	}
	if !p.strict {
		p.doc.Repairs = append(p.doc.Repairs, siteRepairs(e.path, before, site)...)
	}
	if p.strict {
		p.places[site.Domain] = e
	}
	p.doc.objects[KindSite.rank()] = append(p.doc.objects[KindSite.rank()], site)
}

// taken tells whether a listed object with the key was read before, and notes it.
func (p *documentParser) taken(k Key) bool {
	id := k.String() + "\x00"
	_, ok := p.owner[id]
	p.owner[id] = ""
	return ok
}

// claim takes the names of a site, or says which belong to another.
func (p *documentParser) claim(site *Site) []Fault {
	var faults []Fault
	for i, name := range site.Names() {
		owner, ok := p.owner[name]
		if !ok {
			continue
		}
		field := "domain"
		if i > 0 {
			field = fmt.Sprintf("aliases[%d]", i-1)
		}
		faults = append(faults, Fault{Field: field, Message: fmt.Sprintf("%q belongs to the site %s already", name, owner)})
	}
	if len(faults) == 0 {
		for _, name := range site.Names() {
			p.owner[name] = site.Domain
		}
	}
	return faults
}

// reject notes the faults of an object, or puts it into quarantine.
func (p *documentParser) reject(e element, faults []Fault) {
	if p.strict {
		for _, f := range faults {
			path := e.path
			if f.Field != "" {
				path += "." + f.Field
			}
			p.faultAt(e.offset+offsetOf(e.raw, f.Field), path, f.Message)
		}
		return
	}
	line, column := lineColumn(p.data, e.offset)
	reasons := make([]string, len(faults))
	for i, f := range faults {
		reasons[i] = f.String()
	}
	reason := strings.Join(reasons, "; ")
	q := &Quarantined{Kind: e.kind, Object: objectName(e), Reason: reason, Raw: e.raw}
	q.Name = fmt.Sprintf("%s/%s", e.kind, q.Object)
	for n := 2; p.taken(q.Key()); n++ {
		q.Name = fmt.Sprintf("%s/%s#%d", e.kind, q.Object, n)
	}
	r := KindQuarantine.rank()
	p.doc.objects[r] = append(p.doc.objects[r], q)
	p.doc.Repairs = append(p.doc.Repairs, fmt.Sprintf("line %d, column %d: %s is kept but not used: %s", line, column, e.path, reason))
}

// objectName guesses what a faulty object is called.
func objectName(e element) string {
	if e.name != "" {
		return e.name
	}
	var named struct{ Domain, Name any }
	if json.Unmarshal(e.raw, &named) == nil {
		if s, ok := named.Domain.(string); ok && s != "" {
			return s
		}
		if s, ok := named.Name.(string); ok && s != "" {
			return s
		}
	}
	return e.path
}

// checkUses finds imported certificates that are used and missing. Missing bundles are no fault: documents of the
// earlier program do not list them.
func (p *documentParser) checkUses() {
	have := map[string]bool{}
	for _, o := range p.doc.Objects(KindSecret) {
		have[o.Key().Name] = true
	}
	for _, o := range p.doc.Objects(KindSite) {
		site := o.(*Site)
		if site.TLS.Type != TLSImported || have[PrefixImported+site.TLS.Certificate] {
			continue
		}
		e := p.places[site.Domain]
		p.faultAt(e.offset+offsetOf(e.raw, "tls.cert"), e.path+".tls.cert",
			fmt.Sprintf("the imported certificate %q is not among the document's secrets", site.TLS.Certificate))
	}
}

func (p *documentParser) faultAt(offset int, field, message string) {
	line, column := lineColumn(p.data, offset)
	p.faults = append(p.faults, Fault{Field: field, Line: line, Column: column, Message: message})
}
