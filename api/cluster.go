package api

import "time"

// States of members in a [MemberStatus].
const (
	// MemberUp: it is registered as up, and answers.
	MemberUp = "up"
	// MemberDown: it is not registered as up, and does not answer.
	MemberDown = "down"
	// MemberUnreachable: it is registered as up, but does not answer the node that was asked.
	MemberUnreachable = "unreachable"
	// MemberUnregistered: it answers, but is not registered as up.
	MemberUnregistered = "unregistered"
)

// MemberStatus is one member's part of the answer of GET /clusterstatus: its status as it says itself or, if it did
// not answer, one without sites, with what is known of it.
type MemberStatus struct {
	Status
	// State is one of the Member constants; "" from nodes of the earlier program.
	State string `json:"state,omitempty"`
	// Error says why State is not MemberUp.
	Error string `json:"error,omitempty"`
	// Address is where other nodes reach the member's API.
	Address string `json:"address,omitempty"`
	// Since is when the member came up; nil if it is not up.
	Since *time.Time `json:"since,omitempty"`
	// Applied is the revision of the state that the member has applied; 0 if it did not answer.
	Applied int64 `json:"applied"`
	// Lag is by how much Applied is behind the newest revision at which the document changed, as far as any member
	// knows. It is the difference of two revisions, so it also counts changes of other kinds.
	Lag int64 `json:"lag"`
	// Lagging tells that the member has not applied what some member has known for ten seconds.
	Lagging bool `json:"lagging"`
	// BehindSince is when the member came to know the oldest change that it has not applied.
	BehindSince *time.Time `json:"behindSince,omitempty"`
}

// Node is one member in the answer of GET /node.
type Node struct {
	Name string `json:"name"`
	// ID is the id of the installation, which is the member's id in GET /clusterstatus.
	ID string `json:"id"`
	// Address is where other nodes reach the member's API, and Pin that of its key; "" where there is none.
	Address   string    `json:"address,omitempty"`
	Pin       string    `json:"pin,omitempty"`
	Version   string    `json:"version,omitempty"`
	WebServer string    `json:"webServer,omitempty"`
	FirstSeen time.Time `json:"firstSeen"`
	// Up tells whether the member is registered as up, and Since from when on.
	Up    bool       `json:"up"`
	Since *time.Time `json:"since,omitempty"`
	// UnseenSince is since when the member is away, as far as somebody noticed, and Stopped whether it said itself
	// that it stops.
	UnseenSince *time.Time `json:"unseenSince,omitempty"`
	Stopped     bool       `json:"stopped,omitempty"`
	// Self tells whether it is the node that answers.
	Self bool `json:"self,omitempty"`
}

// Leader is the answer of GET /leader.
type Leader struct {
	// Name is the leading node's; "" if no node leads, as far as the node knows that answers.
	Name string `json:"name"`
	// Since is when it began to lead, by its own clock; nil if that is not known.
	Since *time.Time `json:"since,omitempty"`
	// NobodySince is since when no node leads.
	NobodySince *time.Time `json:"nobodySince,omitempty"`
	// UnknownSince is since when the node that answers cannot know who leads; the rest is what it knew last.
	UnknownSince *time.Time `json:"unknownSince,omitempty"`
}

// StepDown is the body of POST /leader/stepdown.
type StepDown struct {
	// To is the node that is to lead; "" for any other than the one that does.
	To string `json:"to,omitempty"`
}
