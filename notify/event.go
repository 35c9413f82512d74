package notify

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"statiko/state"
)

// Event is something that an administrator is told.
type Event struct {
	// ID says what happened and nothing else, such as "certificate/shop/…/7": whoever notices the same gives it the
	// same ID, so that it is told once. It consists of 1 to 400 letters, digits and -._:/@+=* and is sent along,
	// so that a receiver can drop what it gets twice.
	ID string `json:"id"`
	// Type is the kind of event for machines, such as "certificate-expiry".
	Type string `json:"type"`
	// Subject is what the event is about, such as a domain.
	Subject string `json:"subject"`
	// Text is a sentence for people, without a final stop.
	Text string `json:"text"`
	// Created is when it was noticed.
	Created time.Time `json:"created"`
	// Node is the name of the node that it is about or, if it is about none, of the one that noticed it.
	Node string `json:"node"`
}

// Message is the event's text as it is sent.
func (e Event) Message() string { return fmt.Sprintf("[statiko] (%s) %s", e.Node, e.Text) }

// maxText bounds the text of an event in bytes: receivers are chat programs and text messages.
const maxText = 2000

// Names of the records of kind event: the outbox, and marks of what was noticed.
const (
	outboxPrefix  = "outbox/"
	noticedPrefix = "noticed/"
)

var goodID = regexp.MustCompile(`^[A-Za-z0-9._:/@+=*-]{1,400}$`)

func outboxKey(id string) state.Key { return state.Key{Kind: state.KindEvent, Name: outboxPrefix + id} }

// Record writes the event into the outbox with the draft, unless an event of its ID is there already, sent or not; it
// tells whether it was new. The only errors are those of a faulty event (state.ErrInvalid).
//
// A sent event is forgotten after a month or more: what has to be noticed once only, however long it lasts, needs a
// mark of its own, see [SetNoticed].
func Record(d *state.Draft, e Event) (isNew bool, err error) {
	key := outboxKey(e.ID)
	switch {
	case !goodID.MatchString(e.ID):
		return false, state.Errorf(state.ErrInvalid, key, "id", "an event has the faulty id %q", e.ID)
	case e.Type == "" || e.Text == "" || e.Created.IsZero():
		return false, state.Errorf(state.ErrInvalid, key, "", "the event %s lacks its type, text or time", e.ID)
	}
	if _, ok := d.Object(key); ok {
		return false, nil
	}
	e.Created = e.Created.UTC()
	e.Text = bounded(e.Text)
	data, err := json.Marshal(e)
	if err != nil {
		return false, fmt.Errorf("encode the event %s: %w", e.ID, err)
	}
	return true, d.Put(&state.Record{Kind: state.KindEvent, Name: key.Name, Data: data})
}

// bounded returns text of at most maxText bytes, valid UTF-8, in one line.
func bounded(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if len(text) <= maxText {
		return text
	}
	const more = " …"
	n := maxText - len(more)
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + more
}
