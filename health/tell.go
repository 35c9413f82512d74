package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"statiko/certs"
	"statiko/notify"
	"statiko/state"
)

// Types of notices.
const (
	EventSiteUnhealthy = "site-unhealthy"
	EventSiteHealthy   = "site-healthy"
	EventNodeFails     = "node-fails"
	EventNodeWell      = "node-well"
)

// change is something to tell: a subject that is no longer as it was told.
type change struct {
	finding
	about string
	// before is the mark's text, and next what it becomes.
	before string
	next   mark
	// began is when the subject came to be as it is.
	began time.Time
}

// tell tells of the findings that are due, and of each once.
func (d *Duty) tell(ctx context.Context, fence state.Fence, s *state.Snapshot, findings []finding, prefix string, now time.Time) error {
	due := d.due(s, findings, prefix, now)
	for _, ill := range []bool{true, false} {
		changes := slices.DeleteFunc(slices.Clone(due), func(c change) bool { return c.ill() != ill })
		if err := d.record(ctx, fence, changes, prefix, now); err != nil {
			return err
		}
	}
	return nil
}

// due returns what has been for long enough as it was not told.
func (d *Duty) due(s *state.Snapshot, findings []finding, prefix string, now time.Time) (due []change) {
	current := map[string]bool{}
	for _, f := range findings {
		about := prefix + escape(f.subject)
		before, _ := notify.NoticedIn(s, about)
		m := readMark(before)
		if !f.ill() && !m.ill {
			delete(d.seen, about)
			continue
		}
		current[about] = true
		seen, ok := d.seen[about]
		if !ok || seen.ill != f.ill() {
			seen = sighting{f.ill(), now}
			d.seen[about] = seen
		}
		if f.ill() != m.ill && now.Sub(seen.since) >= m.wait(d.o.Patience) {
			due = append(due, change{f, about, before, m.next(f.ill(), now), seen.since})
		}
	}
	if prefix == sitePrefix { // nodes that do not answer stay as they were seen
		for about := range d.seen {
			if strings.HasPrefix(about, prefix) && !current[about] {
				delete(d.seen, about) // well, and never told to be anything else
			}
		}
	}
	return due
}

// record puts the changes, which are all of one kind, into the outbox, each with its mark. Many at the same time are
// one notice, which the first transaction writes.
func (d *Duty) record(ctx context.Context, fence state.Fence, changes []change, prefix string, now time.Time) error {
	together := len(changes) > maxSingle
	first := true
	for batch := range slices.Chunk(changes, maxNotices) {
		var noticed []notify.Event
		_, err := d.o.Store.Update(ctx, func(draft *state.Draft) error {
			noticed = nil
			var events []notify.Event
			for _, c := range batch {
				if notify.Noticed(draft, c.about) != c.before {
					continue // somebody else told meanwhile
				}
				if err := notify.SetNoticed(draft, c.about, c.next.String()); err != nil {
					return err
				}
				events = append(events, d.event(c, prefix, now))
			}
			switch {
			case !together:
			case first && len(events) > 0:
				events = []notify.Event{d.summary(changes, prefix, now)}
			default:
				events = nil
			}
			for _, e := range events {
				isNew, err := notify.Record(draft, e)
				if err != nil {
					return err
				}
				if isNew {
					noticed = append(noticed, e)
				}
			}
			return nil
		}, state.WithFence(fence))
		if err != nil {
			return err
		}
		first = false
		for _, e := range noticed {
			d.o.Log.Info("there is something to tell", zap.String("event", e.ID), zap.String("text", e.Text))
		}
	}
	return nil
}

// typeOf returns the type of a notice.
func typeOf(prefix string, ill bool) string {
	switch {
	case prefix == sitePrefix && ill:
		return EventSiteUnhealthy
	case prefix == sitePrefix:
		return EventSiteHealthy
	case ill:
		return EventNodeFails
	default:
		return EventNodeWell
	}
}

// stampID is how times stand in IDs.
const stampID = "20060102T150405.000000000Z"

func (d *Duty) event(c change, prefix string, now time.Time) notify.Event {
	kind := typeOf(prefix, c.ill())
	e := notify.Event{
		ID: fmt.Sprintf("%s/%s/%s", kind, escape(c.subject), now.UTC().Format(stampID)), Type: kind, Subject: c.subject,
		Created: now, Node: d.o.Node,
	}
	if prefix == nodePrefix {
		e.Node = c.subject
	} else if len(c.nodes) == 1 {
		e.Node = c.nodes[0]
	}
	switch kind {
	case EventSiteUnhealthy:
		e.Text = fmt.Sprintf("The site %s is unhealthy%s: %s", c.subject, where(c.finding), c.reason)
	case EventSiteHealthy:
		e.Text = fmt.Sprintf("The site %s is healthy again, since %s", c.subject, clock(c.began))
	case EventNodeFails:
		e.Text = fmt.Sprintf("The node %s fails: %s", c.subject, c.reason)
	case EventNodeWell:
		e.Text = fmt.Sprintf("The node %s is well again, since %s", c.subject, clock(c.began))
	}
	return e
}

// summary tells of many at the same time.
func (d *Duty) summary(changes []change, prefix string, now time.Time) notify.Event {
	kind, what, is := typeOf(prefix, changes[0].ill()), "sites", "are healthy again"
	if changes[0].ill() {
		is = "are unhealthy"
	}
	if prefix == nodePrefix {
		what = "nodes"
		if is = "are well again"; changes[0].ill() {
			is = "fail"
		}
	}
	const shown = 5
	var names []string
	for _, c := range changes[:shown] {
		names = append(names, c.subject)
	}
	text := fmt.Sprintf("%d %s %s: %s and %d more", len(changes), what, is, strings.Join(names, ", "), len(changes)-shown)
	if changes[0].ill() {
		text += fmt.Sprintf(". Of %s: %s", changes[0].subject, changes[0].reason)
	}
	return notify.Event{
		ID: fmt.Sprintf("%s/+/%s", kind, now.UTC().Format(stampID)), Type: kind, Subject: changes[0].subject, Text: text,
		Created: now, Node: d.o.Node,
	}
}

// where says on which nodes.
func where(f finding) string {
	switch {
	case f.everywhere:
		return fmt.Sprintf(" on all %d nodes", len(f.nodes))
	case len(f.nodes) > maxSingle:
		return fmt.Sprintf(" on %d nodes", len(f.nodes))
	default:
		return " on " + strings.Join(f.nodes, ", ")
	}
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// certificates tells of nodes' own certificates that expire and that the nodes do not renew themselves, at the
// thresholds of package certs.
func (d *Duty) certificates(ctx context.Context, fence state.Fence, s *state.Snapshot, r report, now time.Time) error {
	for _, a := range r.answered {
		c := a.status.Certificate
		if c == nil || c.Renewed {
			continue
		}
		threshold, reached := certs.Threshold(c.NotAfter.Sub(now))
		about := certificatePrefix + escape(a.name)
		if before, _ := notify.NoticedIn(s, about); !reached || certs.ExpiryCovered(before, c.NotAfter, threshold) {
			continue
		}
		e := notify.Event{
			ID:   fmt.Sprintf("node-certificate/%s/%s/%d", escape(a.name), c.NotAfter.UTC().Format("20060102T150405Z"), threshold),
			Type: certs.EventExpiry, Subject: a.name, Created: now, Node: a.name,
			Text: fmt.Sprintf("The certificate of the node %s itself %s", a.name, certs.ExpiryText(c.NotAfter, threshold, now)),
		}
		_, err := d.o.Store.Update(ctx, func(draft *state.Draft) error {
			if certs.ExpiryCovered(notify.Noticed(draft, about), c.NotAfter, threshold) {
				return nil
			}
			if _, err := notify.Record(draft, e); err != nil {
				return err
			}
			return notify.SetNoticed(draft, about, certs.ExpiryMark(c.NotAfter, threshold))
		}, state.WithFence(fence))
		if err != nil {
			return err
		}
	}
	return nil
}
