package state

import (
	"iter"
	"strings"
	"time"
)

// listed yields the entries of an object in the index of a snapshot: what it is found by, a zero byte, and its name.
func listed(o Object) iter.Seq[string] {
	return func(yield func(string) bool) {
		switch o := o.(type) {
		case *Site:
			for _, k := range o.uses() {
				if !yield(k.String() + "\x00" + o.Domain) {
					return
				}
			}
		case *App:
			_ = yield(byDigest+o.SHA256+"\x00"+o.Name) && yield(byUpload+o.Uploaded.UTC().Format(inOrder)+"\x00"+o.Name)
		}
	}
}

// No kind of objects has the name of one of these, so that no key is like them.
const (
	byDigest = "sha256/"
	byUpload = "uploaded/"
)

// inOrder is a time in whole seconds as text that sorts as times do.
const inOrder = "20060102150405"

// found yields the names of the objects with an entry that begins with prefix and a zero byte.
func (s *Snapshot) found(prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		prefix += "\x00"
		s.index.Ascend(prefix, func(entry string, _ struct{}) bool {
			name, ok := strings.CutPrefix(entry, prefix)
			return ok && yield(name)
		})
	}
}

// Users yields the domains of the sites that use the bundle or the secret with the key.
func (s *Snapshot) Users(k Key) iter.Seq[string] { return s.found(k.String()) }

// AppsOf yields the bundles of the archive with a digest: one, most often, and several if it was uploaded under several
// names.
func (s *Snapshot) AppsOf(sha256 string) iter.Seq[*App] {
	return func(yield func(*App) bool) {
		for name := range s.found(byDigest + sha256) {
			if app, ok := s.App(name); ok && !yield(app) {
				return
			}
		}
	}
}

// NewestUpload returns the latest time of upload of all bundles; the zero time if there are none.
func (s *Snapshot) NewestUpload() time.Time {
	var newest time.Time
	s.index.Descend(byUpload+"\xff", func(entry string, _ struct{}) bool {
		rest, ok := strings.CutPrefix(entry, byUpload)
		if ok {
			_, name, _ := strings.Cut(rest, "\x00")
			app, _ := s.App(name)
			newest = app.Uploaded
		}
		return false
	})
	return newest
}
