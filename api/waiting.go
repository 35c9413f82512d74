package api

import (
	"net/url"
	"strconv"
	"strings"
)

// Waiting is a node that has not applied a change.
type Waiting struct {
	// Node is its name.
	Node string `json:"node"`
	// Absent tells that the node is down, so that nobody waited for it.
	Absent bool `json:"absent,omitempty"`
	// Reason says for people why.
	Reason string `json:"reason,omitempty"`
}

// Bounds of the header, in bytes of what is written: proxies refuse headers beyond 8 KiB in all.
const (
	maxWaiting       = 2 << 10
	maxWaitingReason = 300
)

// FormatWaiting writes the value of [HeaderWaiting]: for each node its name, ";absent" if it is down, and its reason
// as `;reason="…"`, separated by commas. Name and reason are percent-encoded as in a query. What does not fit is left
// out, reasons first; then the last part is `;more=N`.
func FormatWaiting(list []Waiting) string {
	var b strings.Builder
	for i, w := range list {
		part := url.QueryEscape(w.Node)
		if w.Absent {
			part += ";absent"
		}
		reason := w.Reason
		if len(reason) > maxWaitingReason {
			reason = strings.ToValidUTF8(reason[:maxWaitingReason], "") + "…"
		}
		if reason = `;reason="` + url.QueryEscape(reason) + `"`; b.Len()+len(part)+len(reason) < maxWaiting && w.Reason != "" {
			part += reason
		}
		if b.Len()+len(part) > maxWaiting+maxWaitingReason {
			b.WriteString(", ;more=" + strconv.Itoa(len(list)-i))
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(part)
	}
	return b.String()
}

// ParseWaiting reads what [FormatWaiting] wrote. It returns how many nodes were left out too. Parts that it does not
// understand are passed over.
func ParseWaiting(text string) (list []Waiting, left int) {
	for part := range strings.SplitSeq(text, ",") {
		name, rest, _ := strings.Cut(strings.TrimSpace(part), ";")
		var w Waiting
		var err error
		if w.Node, err = url.QueryUnescape(name); err != nil {
			continue
		}
		for member := range strings.SplitSeq(rest, ";") {
			key, value, _ := strings.Cut(member, "=")
			switch key {
			case "absent":
				w.Absent = true
			case "reason":
				if w.Reason, err = url.QueryUnescape(strings.Trim(value, `"`)); err != nil {
					w.Reason = ""
				}
			case "more":
				left, _ = strconv.Atoi(value) // 0 for what is no number
			}
		}
		if w.Node != "" {
			list = append(list, w)
		}
	}
	return list, left
}
