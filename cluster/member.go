package cluster

import (
	"encoding/json"
	"fmt"
	"time"

	"statiko/state"
)

// schemaVersion is that of [Record] and of the internal routes; it grows when an older node could not cope.
const schemaVersion = 1

// Record is what the state knows of a member ([state.KindMember], under the node's name).
type Record struct {
	// InstanceID is a UUID in lower case: the installation, whatever its name.
	InstanceID string `json:"instanceId"`
	// Address is the URL of the node's API for other nodes, such as "https://edge-1.example.org:2265".
	Address string `json:"address"`
	// Pin is that of the API's key, as [statiko/api.PinOf] writes it; "" for an API without TLS.
	Pin string `json:"pin,omitempty"`
	// Version is the program's, for people.
	Version string `json:"version,omitempty"`
	// WebServer is the web server's engine, such as "builtin".
	WebServer string `json:"webServer,omitempty"`
	// FirstSeen is when this instance first registered under this name.
	FirstSeen time.Time `json:"firstSeen"`
	// Schema is the version of the record and of the routes that the node offers to others.
	Schema int `json:"schema"`
	// UnseenSince is when the node stopped or, if it did not say, when a leader first noticed that it is not up,
	// by the clock of whoever wrote it. Nil for a node that is up, or whose absence nobody has noticed yet.
	UnseenSince *time.Time `json:"unseenSince,omitempty"`
	// Stopped tells that the node itself said so when it was stopped.
	Stopped bool `json:"stopped,omitempty"`
}

// presence is the value of the key that exists while a node is up ([state.KindNode], under the node's name).
type presence struct {
	InstanceID string `json:"instanceId"`
	// Process is random for each process, so that two processes of one instance are told apart.
	Process string    `json:"process"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
}

// Member is a node that belongs to the cluster.
type Member struct {
	// Name is the node's name.
	Name string
	Record
	// Self tells whether it is this node.
	Self bool
	// Up tells whether the node is up, as far as this node knows; Since is when that began, zero if it is not.
	Up    bool
	Since time.Time
}

func memberKey(name string) state.Key   { return state.Key{Kind: state.KindMember, Name: name} }
func presenceKey(name string) state.Key { return state.Key{Kind: state.KindNode, Name: name} }

// decodeRecord reads the JSON of an object of one of the cluster's kinds.
func decodeRecord[T any](o state.Object) (T, error) {
	var v T
	r, ok := o.(*state.Record)
	if !ok {
		return v, fmt.Errorf("%s is no record", o.Key())
	}
	if err := json.Unmarshal(r.Data, &v); err != nil {
		return v, fmt.Errorf("%s: %w", o.Key(), err)
	}
	return v, nil
}

// members returns the members in the snapshot in the order of their names. What cannot be read is passed over: it is
// a newer version's, or nobody's.
func members(s *state.Snapshot) []Member {
	list := make([]Member, 0, s.Len(state.KindMember))
	for o := range s.Objects(state.KindMember) {
		record, err := decodeRecord[Record](o)
		if err != nil {
			continue
		}
		m := Member{Name: o.Key().Name, Record: record}
		if p, ok := s.Object(presenceKey(m.Name)); ok {
			m.Up = true
			if up, err := decodeRecord[presence](p); err == nil {
				m.Since = up.Since
			}
		}
		list = append(list, m)
	}
	return list
}

// away says for people since when a member is not up.
func (m Member) away() string {
	switch {
	case m.UnseenSince == nil:
		return "it is down"
	case m.Stopped:
		return "it was stopped at " + m.UnseenSince.UTC().Format(time.RFC3339)
	}
	return "it is down since " + m.UnseenSince.UTC().Format(time.RFC3339) + " or earlier"
}
