package migrate

import (
	"statiko/state"
)

// Results of a migration.
const (
	// ResultMigrated: the target has the state, and is in force.
	ResultMigrated = "migrated"
	// ResultAlready: there was nothing to do.
	ResultAlready = "already"
	// ResultWould: a dry run found nothing that speaks against it.
	ResultWould = "would"
)

// Report tells what was done, or would be.
type Report struct {
	// Result is one of the constants above; "" if it came to an error.
	Result string `json:"result"`
	// From and To name the places for people.
	From string `json:"from"`
	To   string `json:"to"`
	// Objects counts the source's objects by kind.
	Objects map[string]int `json:"objects"`
	// Bytes is the size of the state document, Digest its SHA-256 without the member keyId, KeyID that member.
	Bytes  int    `json:"bytes"`
	Digest string `json:"digest"`
	KeyID  string `json:"keyId,omitempty"`
	// Added, Changed and Removed count by kind what becomes different in the target.
	Added   map[string]int `json:"added"`
	Changed map[string]int `json:"changed"`
	Removed map[string]int `json:"removed"`
	// RemovedSites are the sites that the target loses, at most 100 of them.
	RemovedSites []string `json:"removedSites,omitempty"`
	// Kept is a file with what a file had before it became the target; "" if that was nothing.
	Kept string `json:"kept,omitempty"`
	// Frozen tells that the node which runs with the source refuses changes from now on, until it is started anew.
	Frozen bool `json:"frozen"`
	// Warnings are what somebody should know; Next what to do now.
	Warnings []string `json:"warnings,omitempty"`
	Next     []string `json:"next,omitempty"`
}

// maxRemovedSites bounds a report.
const maxRemovedSites = 100

// count notes how many objects there are.
func (r *Report) count(s *state.Snapshot) {
	r.Objects = map[string]int{}
	for _, kind := range state.Kinds() {
		if kind.InDocument() && s.Len(kind) > 0 {
			r.Objects[string(kind)] = s.Len(kind)
		}
	}
}

// compare notes what of before becomes different by taking over all of after.
func (r *Report) compare(before, after *state.Snapshot) {
	r.Added, r.Changed, r.Removed, r.RemovedSites = map[string]int{}, map[string]int{}, map[string]int{}, nil
	for _, kind := range state.Kinds() {
		if !kind.InDocument() {
			continue
		}
		for o := range after.Objects(kind) {
			if old, ok := before.Object(o.Key()); !ok {
				r.Added[string(kind)]++
			} else if !sameObject(old, o) {
				r.Changed[string(kind)]++
			}
		}
		for o := range before.Objects(kind) {
			if _, ok := after.Object(o.Key()); ok {
				continue
			}
			r.Removed[string(kind)]++
			if kind == state.KindSite && len(r.RemovedSites) < maxRemovedSites {
				r.RemovedSites = append(r.RemovedSites, o.Key().Name)
			}
		}
	}
}
