package notify

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"statiko/state"
)

func noticedKey(about string) state.Key {
	return state.Key{Kind: state.KindEvent, Name: noticedPrefix + about}
}

// Noticed returns what was noticed last about something, as [SetNoticed] wrote it; "" if nothing was.
func Noticed(d *state.Draft, about string) string {
	o, ok := d.Object(noticedKey(about))
	if !ok {
		return ""
	}
	return noticedIn(o)
}

// NoticedIn is [Noticed] on a snapshot, with whether there is a mark.
func NoticedIn(s *state.Snapshot, about string) (what string, ok bool) {
	o, ok := s.Object(noticedKey(about))
	if !ok {
		return "", false
	}
	return noticedIn(o), true
}

// SetNoticed notes what was noticed about something, such as which state of it was told last; "" forgets it. Written in
// one update with [Record], it makes that something is noticed once, by whichever leader. It stays until it is changed.
// The only error is a name that no object can have.
func SetNoticed(d *state.Draft, about, what string) error {
	key := noticedKey(about)
	if what == "" {
		if _, ok := d.Object(key); !ok {
			return nil
		}
		return d.Delete(key)
	}
	data, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encode what was noticed about %s: %w", about, err)
	}
	return d.Put(&state.Record{Kind: state.KindEvent, Name: key.Name, Data: data})
}

// AllNoticed yields what was noticed about everything whose name begins with prefix, in the order of the names.
func AllNoticed(s *state.Snapshot, prefix string) iter.Seq2[string, string] {
	return func(yield func(about, what string) bool) {
		for o := range s.Objects(state.KindEvent) {
			about, ok := strings.CutPrefix(o.Key().Name, noticedPrefix)
			if ok && strings.HasPrefix(about, prefix) && !yield(about, noticedIn(o)) {
				return
			}
		}
	}
}

// noticedIn reads a mark. One that cannot be read counts as none: it is then written anew.
func noticedIn(o state.Object) (what string) {
	data, err := o.MarshalJSON()
	if err != nil || json.Unmarshal(data, &what) != nil {
		return ""
	}
	return what
}
