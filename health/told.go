package health

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"statiko/notify"
	"statiko/state"
)

// Names of marks begin with these; the escaped subject follows.
const (
	sitePrefix        = "health/site/"
	nodePrefix        = "health/node/"
	certificatePrefix = "health/certificate/"
)

// mark is what the state keeps about what was told of a subject last.
type mark struct {
	ill bool
	at  time.Time
	// flaps is how often in a row it began to fail soon after it was told to be well.
	flaps int
}

func (m mark) String() string {
	word := "well"
	if m.ill {
		word = "ill"
	}
	return fmt.Sprintf("%s %s %d", word, m.at.UTC().Format(time.RFC3339Nano), m.flaps)
}

// readMark reads a mark; what is none is as if nothing had been told.
func readMark(text string) (m mark) {
	parts := strings.Fields(text)
	if len(parts) != 3 {
		return mark{}
	}
	at, err := time.Parse(time.RFC3339Nano, parts[1])
	flaps, err2 := strconv.Atoi(parts[2])
	if err != nil || err2 != nil {
		return mark{}
	}
	return mark{parts[0] == "ill", at, flaps}
}

// told yields the subjects that have marks.
func told(s *state.Snapshot, prefix string) iter.Seq2[string, mark] {
	return func(yield func(string, mark) bool) {
		for about, text := range notify.AllNoticed(s, prefix) {
			if !yield(unescape(strings.TrimPrefix(about, prefix)), readMark(text)) {
				return
			}
		}
	}
}

// next returns the mark after a subject is told to be ill or well.
func (m mark) next(ill bool, now time.Time) mark {
	n := mark{ill: ill, at: now, flaps: m.flaps}
	switch {
	case !ill:
	case !m.at.IsZero() && now.Sub(m.at) < flapWindow:
		n.flaps = min(m.flaps+1, maxFlaps)
	default:
		n.flaps = 0
	}
	return n
}

// wait returns for how long a subject must be as it is before that is told.
func (m mark) wait(patience time.Duration) time.Duration {
	if m.ill {
		return patience << m.flaps
	}
	return patience
}

// forget removes marks that have no use any more: of sites and nodes that are gone, and of what has been well for long.
func (d *Duty) forget(ctx context.Context, fence state.Fence, s *state.Snapshot, r report, now time.Time) error {
	there := map[string]bool{}
	for _, m := range r.members {
		there[m.Name] = true
	}
	type old struct{ about, text string }
	var list []old
	note := func(prefix string, useless func(subject string, m mark) bool) {
		for subject, m := range told(s, prefix) {
			if useless(subject, m) {
				about := prefix + escape(subject)
				text, _ := notify.NoticedIn(s, about)
				list = append(list, old{about, text})
			}
		}
	}
	longWell := func(m mark) bool { return !m.ill && now.Sub(m.at) > flapWindow }
	note(sitePrefix, func(domain string, m mark) bool {
		_, ok := s.Object(state.Key{Kind: state.KindSite, Name: domain})
		return !ok || longWell(m)
	})
	note(nodePrefix, func(name string, m mark) bool { return !there[name] || longWell(m) })
	note(certificatePrefix, func(name string, _ mark) bool { return !there[name] })
	for batch := range slices.Chunk(list, maxNotices) {
		_, err := d.o.Store.Update(ctx, func(draft *state.Draft) error {
			for _, o := range batch {
				if notify.Noticed(draft, o.about) != o.text {
					continue // changed meanwhile
				}
				if err := notify.SetNoticed(draft, o.about, ""); err != nil {
					return err
				}
			}
			return nil
		}, state.WithFence(fence))
		if err != nil {
			return err
		}
	}
	return nil
}

// escape writes a name with letters, digits and -._ only, so that it can stand in an event's ID.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// unescape undoes escape.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '=' && i+2 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
