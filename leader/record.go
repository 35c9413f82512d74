package leader

import (
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"

	"statiko/etcdclient"
)

// candidate is the value of a key of the election.
type candidate struct {
	Node     string `json:"node"`
	Instance string `json:"instance"`
	// Leads is since when the node leads, by its clock; absent while it waits.
	Leads *time.Time `json:"leads,omitempty"`
}

// handover is the value of the key that asks the leader to go.
type handover struct {
	// Term is the revision at which the key of the term to end was created.
	Term int64 `json:"term"`
	// From is the name of the node that leads then. It must not come next.
	From string `json:"from"`
	// To is the only node that may come next; "" is any but From.
	To string `json:"to,omitempty"`
}

// admits tells whether the node may come to lead while the handover lasts.
func (h handover) admits(node string) bool {
	if h.To != "" {
		return node == h.To
	}
	return node != h.From
}

func electionPrefix(prefix string) string { return prefix + "/election" }
func nextKey(prefix string) string        { return prefix + "/next" }

// candidateKey is the key that an election makes for the session.
func candidateKey(prefix string, s *etcdclient.Session) string {
	return fmt.Sprintf("%s/%x", electionPrefix(prefix), s.Lease())
}

func (e *Etcd) newElection(s *etcdclient.Session) *concurrency.Election {
	return concurrency.NewElection(s.Etcd(), electionPrefix(e.options.Prefix))
}

// value is this node's candidacy; with leads, its leadership.
func (e *Etcd) value(leads *time.Time) string {
	// A struct of strings and a time can always be encoded.
	v, _ := json.Marshal(candidate{e.options.NodeName, e.options.InstanceID, leads})
	return string(v)
}
