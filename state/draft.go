package state

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Draft is what an update function reads and writes. It notes everything that was read, absences included, and
// everything that was written, so that the store can tell whether the function would do the same on a newer
// snapshot. A Draft is valid only within the call of its function, and not safe for concurrent use.
//
// Objects that a Draft returns are immutable; store a changed copy.
type Draft struct {
	base   *Snapshot
	reads  map[Key]int64
	exist  map[Key]struct{}
	writes map[Key]Object
}

func newDraft(base *Snapshot) *Draft {
	return &Draft{base: base, reads: map[Key]int64{}, exist: map[Key]struct{}{}, writes: map[Key]Object{}}
}

// Snapshot returns the snapshot that the draft started from. What is read from it directly is not protected
// against changes by others.
func (d *Draft) Snapshot() *Snapshot { return d.base }

// Object returns any object as the draft has it: as written, or else as in the snapshot, which is noted.
func (d *Draft) Object(k Key) (Object, bool) {
	if o, ok := d.writes[k]; ok {
		return o, o != nil
	}
	o, rev := d.base.get(k)
	d.reads[k] = rev
	return o, rev != 0
}

// Revision returns the revision of the object's last change before the draft, 0 if it did not exist, and notes it.
func (d *Draft) Revision(k Key) int64 {
	rev := d.base.RevisionOf(k)
	d.reads[k] = rev
	return rev
}

// Site returns the site that has the name, in its stored form, as its domain or as an alias.
func (d *Draft) Site(name string) (*Site, bool) {
	o, ok := d.Object(Key{KindName, name})
	if !ok {
		return nil, false
	}
	return draftGet[*Site](d, Key{KindSite, o.(*nameEntry).domain})
}

// App returns a bundle.
func (d *Draft) App(name string) (*App, bool) { return draftGet[*App](d, Key{KindApp, name}) }

// Secret returns a secret.
func (d *Draft) Secret(name string) (*Secret, bool) {
	return draftGet[*Secret](d, Key{KindSecret, name})
}

// DHParams returns the cluster's own Diffie-Hellman parameters.
func (d *Draft) DHParams() (*DHParams, bool) { return draftGet[*DHParams](d, Key{Kind: KindDHParams}) }

func draftGet[T Object](d *Draft, k Key) (T, bool) {
	o, ok := d.Object(k)
	if !ok {
		var none T
		return none, false
	}
	return o.(T), true
}

// Put stores an object of any kind that callers name, in place of what has its key. A copy of a site or bundle
// is brought into its stored form first. The errors are ErrInvalid; for a site ErrExists if one of its names
// belongs to another, and ErrNotFound if it starts to use a bundle or certificate that does not exist.
func (d *Draft) Put(o Object) error {
	switch v := o.(type) {
	case *Site:
		o = v.Clone()
	case *App:
		o = v.Clone()
	}
	faults := normalize(o)
	k := o.Key()
	if err := invalid(describe(k), faults); err != nil {
		return err
	}
	if site, ok := o.(*Site); ok {
		return d.putSite(site)
	}
	if r := k.Kind.rank(); r < 0 || kinds[r].index {
		return Errorf(ErrInvalid, k, "", "objects of kind %q are not stored directly", k.Kind)
	}
	old, ok := d.Object(k)
	if ok && same(old, o) {
		return nil
	}
	d.write(k, o)
	return nil
}

func (d *Draft) putSite(site *Site) error {
	k := site.Key()
	var old *Site
	if o, ok := d.Object(k); ok {
		old = o.(*Site)
		if same(old, site) {
			return nil
		}
	}
	for i, name := range site.Names() {
		o, ok := d.Object(Key{KindName, name})
		if owner := ""; ok {
			owner = o.(*nameEntry).domain
			if owner != site.Domain {
				return nameTaken(name, owner, i)
			}
			continue
		}
		d.write(Key{KindName, name}, &nameEntry{name, site.Domain})
	}
	var before []Key
	if old != nil {
		before = old.uses()
		keep := map[string]bool{}
		for _, name := range site.Names() {
			keep[name] = true
		}
		for _, name := range old.Names() {
			if !keep[name] {
				d.delete(Key{KindName, name})
			}
		}
	}
	if err := d.use(site, before, site.uses()); err != nil {
		return err
	}
	d.write(k, site)
	return d.releaseQuarantined(site.Domain)
}

func nameTaken(name, owner string, i int) error {
	field := "domain"
	if i > 0 {
		field = fmt.Sprintf("aliases[%d]", i-1)
	}
	if name == owner {
		return Errorf(ErrExists, Key{KindSite, owner}, field, "the site %s exists already", name)
	}
	return Errorf(ErrExists, Key{KindSite, owner}, field, "%s is an alias of the site %s", name, owner)
}

// use notes what a site starts and stops to use: who starts needs the object to exist, and both change the guard,
// which whoever removes the object compares.
func (d *Draft) use(site *Site, before, after []Key) error {
	had, has := map[Key]bool{}, map[Key]bool{}
	for _, k := range before {
		had[k] = true
	}
	for _, k := range after {
		has[k] = true
		if had[k] {
			continue
		}
		if !d.exists(k) {
			field, what := "app.name", "bundle"
			if k.Kind == KindSecret {
				field, what = "tls.cert", "imported certificate"
			}
			return Errorf(ErrNotFound, k, field, "there is no %s %q for the site %s",
				what, strings.TrimPrefix(k.Name, PrefixImported), site.Domain)
		}
		d.touch(k)
	}
	for _, k := range before {
		if !has[k] {
			d.touch(k)
		}
	}
	return nil
}

// exists tells whether the object exists and notes only that, so that changes of its content do not disturb.
func (d *Draft) exists(k Key) bool {
	if o, ok := d.writes[k]; ok {
		return o != nil
	}
	if d.base.RevisionOf(k) == 0 {
		d.reads[k] = 0
		return false
	}
	d.exist[k] = struct{}{}
	return true
}

// touch changes the guard of k without looking at it, so that users of one object do not disturb each other.
func (d *Draft) touch(k Key) { g := k.guard(); d.writes[g] = &guardEntry{g.Name} }

// Delete removes an object of any kind that callers name. The errors are ErrNotFound, and ErrInUse for a bundle or
// certificate that a site uses.
func (d *Draft) Delete(k Key) error {
	o, ok := d.Object(k)
	if !ok {
		return Errorf(ErrNotFound, k, "", "%s does not exist", describe(k))
	}
	switch o := o.(type) {
	case *Site:
		for _, name := range o.Names() {
			d.delete(Key{KindName, name})
		}
		for _, u := range o.uses() {
			d.touch(u)
		}
	case *App, *Secret:
		if err := d.unused(k); err != nil {
			return err
		}
	}
	d.delete(k)
	return nil
}

// unused returns ErrInUse if a site uses the object, as the draft has it, and makes sure that nobody starts to.
func (d *Draft) unused(k Key) error {
	g := k.guard()
	d.reads[g] = d.base.RevisionOf(g)
	users := map[string]*Site{}
	for domain := range d.base.Users(k) {
		users[domain], _ = d.base.Site(domain)
	}
	for wk, o := range d.writes {
		if wk.Kind != KindSite {
			continue
		}
		delete(users, wk.Name)
		if site, ok := o.(*Site); ok && slices.Contains(site.uses(), k) {
			users[wk.Name] = site
		}
	}
	if len(users) == 0 {
		if d.base.RevisionOf(g) != 0 {
			d.writes[g] = nil
		} else {
			// The draft itself may have touched it.
			delete(d.writes, g)
		}
		return nil
	}
	var names []string
	for name, site := range users {
		if k.Kind == KindApp && site.AppName() != k.Name {
			name += " (to go back to)"
		}
		names = append(names, name)
	}
	sort.Strings(names)
	shown := names
	if len(shown) > 5 {
		shown = append(shown[:5:5], fmt.Sprintf("%d more", len(names)-5))
	}
	return Errorf(ErrInUse, k, "", "%s is in use by %s", describe(k), strings.Join(shown, ", "))
}

// releaseQuarantined removes quarantined sites with the domain: a good one takes their place.
func (d *Draft) releaseQuarantined(domain string) error {
	for q := range d.base.Quarantine() {
		if q.Kind == KindSite && q.Object == domain {
			if _, ok := d.Object(q.Key()); ok {
				d.delete(q.Key())
			}
		}
	}
	return nil
}

// write notes a write and that it depends on what was there before.
func (d *Draft) write(k Key, o Object) {
	if _, ok := d.reads[k]; !ok {
		d.reads[k] = d.base.RevisionOf(k)
	}
	d.writes[k] = o
}

// delete notes a removal; of something that the draft itself created, there is nothing left to do.
func (d *Draft) delete(k Key) {
	d.write(k, nil)
	if d.base.RevisionOf(k) == 0 {
		delete(d.writes, k)
	}
}

// same tells whether two objects of one key are the same, so that there is nothing to write.
func same(a, b Object) bool {
	x, err := a.MarshalJSON()
	if err != nil {
		return false
	}
	y, err := b.MarshalJSON()
	return err == nil && bytes.Equal(x, y)
}

// describe names an object for people.
func describe(k Key) string {
	switch k.Kind {
	case KindSite:
		return "the site " + k.Name
	case KindApp:
		return "the bundle " + k.Name
	case KindDHParams:
		return "the DH parameters"
	case KindSecret:
		if n, ok := strings.CutPrefix(k.Name, PrefixImported); ok {
			return "the certificate " + n
		}
		return "the secret " + k.Name
	}
	return k.String()
}
