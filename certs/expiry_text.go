package certs

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"statiko/notify"
	"statiko/state"
)

const day = 24 * time.Hour

// Thresholds are the numbers of days (of 24 hours) before the end of a certificate at which it is noticed, the
// smallest first. Negative ones lie after the end.
func Thresholds() []int { return []int{-2, -1, 0, 1, 2, 3, 7, 14, 30} }

// Threshold returns the smallest threshold that a certificate with so much time left has reached, or false if it has
// reached none.
func Threshold(left time.Duration) (int, bool) {
	for _, t := range Thresholds() {
		if left <= time.Duration(t)*day {
			return t, true
		}
	}
	return 0, false
}

// untilThreshold returns after which time the next threshold is reached; more than a certificate lives if none is left.
func untilThreshold(left time.Duration) time.Duration {
	next := 365 * day
	for _, t := range Thresholds() {
		if in := left - time.Duration(t)*day; in > 0 {
			next = min(next, in)
		}
	}
	return next
}

// ExpiryMark is what the state keeps about what was noticed: the date, so that a renewed certificate starts anew, and
// the threshold.
func ExpiryMark(notAfter time.Time, threshold int) string {
	return notAfter.UTC().Format(time.RFC3339) + " " + strconv.Itoa(threshold)
}

// ExpiryCovered tells whether a mark says that the threshold, or a smaller one, was noticed for the date.
func ExpiryCovered(mark string, notAfter time.Time, threshold int) bool {
	date, number, ok := strings.Cut(mark, " ")
	if !ok || date != notAfter.UTC().Format(time.RFC3339) {
		return false
	}
	n, err := strconv.Atoi(number)
	return err == nil && n <= threshold
}

// event is the notice as an event. Its ID depends on nothing but what is noticed.
func (n notice) event(node string, now time.Time) notify.Event {
	name := strings.TrimPrefix(n.secret, "cert/")
	subject := n.sites[0]
	if imported, ok := strings.CutPrefix(n.secret, state.PrefixImported); ok {
		subject = imported
	}
	return notify.Event{
		ID:   fmt.Sprintf("certificate/%s/%s/%d", name, n.notAfter.UTC().Format("20060102T150405Z"), n.threshold),
		Type: EventExpiry, Subject: subject, Text: n.text(now), Created: now, Node: node,
	}
}

// ExpiryText says when a certificate that has reached the threshold expires, or did.
func ExpiryText(notAfter time.Time, threshold int, now time.Time) string {
	var when string
	switch left := notAfter.Sub(now); threshold {
	case -2:
		when = "expired more than two days ago"
	case -1:
		when = "expired one day ago"
	case 0:
		when = "expired today"
	case 1:
		when = "expires today"
	default: // days that have begun count
		when = fmt.Sprintf("expires in %d days", (left+day-1)/day)
	}
	return fmt.Sprintf("%s (%s)", when, stamp(notAfter))
}

// text names the sites, and says when their certificate expires or did.
func (n notice) text(now time.Time) string {
	what := "The certificate"
	if imported, ok := strings.CutPrefix(n.secret, state.PrefixImported); ok {
		what += " " + strconv.Quote(imported)
	}
	return fmt.Sprintf("%s of %s %s", what, shorten(n.sites), ExpiryText(n.notAfter, n.threshold, now))
}
