package notify

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"statiko/state"
)

// entry is an event as it lies in the outbox.
type entry struct {
	Event
	// Claim is who sends it; nil if nobody has begun to.
	Claim *claim `json:"claim,omitempty"`
	// Sent is when it was delivered, Dropped when it was given up. An event with one of them is finished.
	Sent    *time.Time `json:"sent,omitempty"`
	Dropped *time.Time `json:"dropped,omitempty"`

	// stored is the record's JSON, which may have members that this version does not know.
	stored []byte
}

// claim says who sends an event. It is written before the first attempt, so that a new leader knows that one may be
// on its way, and lets it arrive.
type claim struct {
	// Node is the sender's name, Run a random text of one run of its duty.
	Node string `json:"node"`
	Run  string `json:"run"`
}

func (e *entry) finished() bool { return e.Sent != nil || e.Dropped != nil }

func readEntry(o state.Object) (*entry, error) {
	data, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	e := &entry{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("event %s: %w", o.Key().Name, err)
	}
	e.stored = data
	return e, nil
}

// change returns the entry's record with one member set.
func (e *entry) change(member string, value any) (*state.Record, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(e.stored, &members); err != nil {
		return nil, err
	}
	members[member] = raw
	data, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	return &state.Record{Kind: state.KindEvent, Name: outboxPrefix + e.ID, Data: data}, nil
}

// outbox yields the entries in the order of their IDs, and the records that cannot be read with the reason.
func outbox(s *state.Snapshot) iter.Seq2[*entry, error] {
	return func(yield func(*entry, error) bool) {
		for o := range s.Objects(state.KindEvent) {
			id, ok := strings.CutPrefix(o.Key().Name, outboxPrefix)
			if !ok {
				continue
			}
			e, err := readEntry(o)
			if err == nil && e.ID != id {
				err = fmt.Errorf("event %s calls itself %q", id, e.ID)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// inDraft returns the entry with the ID, or nil if there is none that can be read.
func inDraft(d *state.Draft, id string) *entry {
	o, ok := d.Object(outboxKey(id))
	if !ok {
		return nil
	}
	e, err := readEntry(o)
	if err != nil || e.ID != id {
		return nil
	}
	return e
}

// take puts a claim on an event unless it was finished or claimed by another meanwhile: before is the claim that was
// seen. It tells whether the claim is on it now.
func take(d *state.Draft, id string, before *claim, mine claim) (bool, error) {
	e := inDraft(d, id)
	if e == nil || e.finished() {
		return false, nil
	}
	switch {
	case e.Claim != nil && *e.Claim == mine:
		return true, nil
	case (e.Claim == nil) != (before == nil), e.Claim != nil && *e.Claim != *before:
		return false, nil
	}
	r, err := e.change("claim", mine)
	if err != nil {
		return false, err
	}
	return true, d.Put(r)
}

// finish marks an event as sent or dropped if the claim on it is still the given one.
func finish(d *state.Draft, id string, mine *claim, member string, now time.Time) error {
	e := inDraft(d, id)
	if e == nil || e.finished() || (e.Claim == nil) != (mine == nil) || mine != nil && *e.Claim != *mine {
		return nil
	}
	r, err := e.change(member, now.UTC())
	if err != nil {
		return err
	}
	return d.Put(r)
}
