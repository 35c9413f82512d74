package certs

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"statiko/notify"
	"statiko/state"
)

// EventExpiry is the type of notices about certificates that expire.
const EventExpiry = "certificate-expiry"

// markPrefix begins the names of marks of what was noticed about pairs; the secret's name follows.
const markPrefix = "certificate/"

// notice is one that is due.
type notice struct {
	secret    string
	revision  int64
	notAfter  time.Time
	threshold int
	sites     []string
}

// look notices what is to be noticed and returns after which time there may be more.
func (d *ExpiryDuty) look(ctx context.Context, fence state.Fence, s *state.Snapshot) (next time.Duration, err error) {
	now := d.o.Now()
	users := watched(s)
	var due []notice
	next = 365 * 24 * time.Hour
	for _, name := range slices.Sorted(maps.Keys(users)) {
		p := d.pair(s, name)
		if p.err != nil {
			continue
		}
		left := p.notAfter.Sub(now)
		next = min(next, untilThreshold(left))
		threshold, ok := Threshold(left)
		if !ok || wasNoticed(s, name, p.notAfter, threshold) {
			continue
		}
		due = append(due, notice{name, p.revision, p.notAfter, threshold, users[name]})
	}
	for name := range d.read {
		if _, ok := users[name]; !ok {
			delete(d.read, name)
		}
	}
	for batch := range slices.Chunk(due, maxNotices) {
		if err := d.record(ctx, fence, batch, now); err != nil {
			return 0, err
		}
	}
	return next, d.forget(ctx, fence, s)
}

// watched returns the pairs that are to be watched, each with the domains of the sites that are served with it.
func watched(s *state.Snapshot) map[string][]string {
	users := map[string][]string{}
	for site := range s.Sites() {
		// What the certificate duty makes is renewed by it. Pairs from an ACME server are not, in this version.
		name, _ := PairFor(s, site)
		if !strings.HasPrefix(name, state.PrefixSelfSigned) {
			users[name] = append(users[name], site.Domain)
		}
	}
	return users
}

// pair returns the date of a pair. What cannot be read is logged once, and stops no other.
func (d *ExpiryDuty) pair(s *state.Snapshot, name string) readPair {
	sec, ok := s.Secret(name)
	if !ok {
		return readPair{err: state.ErrNotFound} // the site says so in its status
	}
	revision := s.RevisionOf(sec.Key())
	if p, ok := d.read[name]; ok && p.revision == revision {
		return p
	}
	p := readPair{revision: revision}
	if info, err := InspectSealed(d.o.Keyring, sec); err != nil {
		p.err = err
		d.o.Log.Warn("a certificate cannot be read, so its expiry is not watched", zap.String("certificate", name), zap.Error(err))
	} else {
		p.notAfter = info.NotAfter.UTC()
	}
	d.read[name] = p
	return p
}

// record puts notices into the outbox, each with the mark that it was noticed, unless the pair was replaced or
// somebody else noticed meanwhile.
func (d *ExpiryDuty) record(ctx context.Context, fence state.Fence, batch []notice, now time.Time) error {
	var noticed []notify.Event
	_, err := d.o.Store.Update(ctx, func(draft *state.Draft) error {
		noticed = nil
		for _, n := range batch {
			if draft.Revision(state.Key{Kind: state.KindSecret, Name: n.secret}) != n.revision {
				continue
			}
			about := markPrefix + n.secret
			if ExpiryCovered(notify.Noticed(draft, about), n.notAfter, n.threshold) {
				continue
			}
			e := n.event(d.o.Node, now)
			isNew, err := notify.Record(draft, e)
			if err != nil {
				return err
			}
			if isNew {
				noticed = append(noticed, e)
			}
			if err := notify.SetNoticed(draft, about, ExpiryMark(n.notAfter, n.threshold)); err != nil {
				return err
			}
		}
		return nil
	}, state.WithFence(fence))
	if err != nil {
		return err
	}
	for _, e := range noticed {
		d.o.Log.Warn(e.Text, zap.String("event", e.ID))
	}
	return nil
}

// forget removes the marks of pairs that do not exist any more.
func (d *ExpiryDuty) forget(ctx context.Context, fence state.Fence, s *state.Snapshot) error {
	var gone []string
	for about := range notify.AllNoticed(s, markPrefix) {
		if _, ok := s.Secret(strings.TrimPrefix(about, markPrefix)); !ok {
			gone = append(gone, about)
		}
	}
	for batch := range slices.Chunk(gone, maxNotices) {
		_, err := d.o.Store.Update(ctx, func(draft *state.Draft) error {
			for _, about := range batch {
				if _, ok := draft.Secret(strings.TrimPrefix(about, markPrefix)); ok {
					continue
				}
				if err := notify.SetNoticed(draft, about, ""); err != nil {
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

// wasNoticed tells whether the threshold, or a smaller one, was noticed for the date.
func wasNoticed(s *state.Snapshot, name string, notAfter time.Time, threshold int) bool {
	what, ok := notify.NoticedIn(s, markPrefix+name)
	return ok && ExpiryCovered(what, notAfter, threshold)
}
