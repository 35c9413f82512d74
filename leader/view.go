package leader

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// view is what this node knows of the election's keys.
type view struct {
	prefix string

	mu sync.Mutex
	// blind is since when the keys are not followed; zero while they are.
	blind time.Time
	// keys has the candidates by key; nil while they are not known.
	keys map[string]entry
	// next is the handover, at revision nextRevision; 0 without one.
	next         handover
	nextRevision int64
	leader       entry
	nobody       time.Time
	// unfit tells that this node cannot lead.
	unfit bool
	// changed is closed when anything changes.
	changed chan struct{}
}

// entry is one candidate.
type entry struct {
	candidate
	// created is the key's CreateRevision: the candidate's place in the queue, and the name of its term.
	created int64
}

func newView(prefix string) *view {
	return &view{prefix: prefix, blind: time.Now(), changed: make(chan struct{})}
}

// load replaces what is known.
func (v *view) load(kvs []*mvccpb.KeyValue) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys, v.nextRevision, v.blind = map[string]entry{}, 0, time.Time{}
	for _, kv := range kvs {
		v.put(kv)
	}
	v.publish()
}

// apply takes in what a watch has brought.
func (v *view) apply(events []*clientv3.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys = maps.Clone(v.keys)
	for _, e := range events {
		switch key := string(e.Kv.Key); {
		case e.Type == mvccpb.PUT:
			v.put(e.Kv)
		case key == nextKey(v.prefix):
			v.nextRevision = 0
		default:
			delete(v.keys, key)
		}
	}
	v.publish()
}

// put takes in one key. What is not readable counts as a candidate without a name: it has its place in the queue all
// the same.
func (v *view) put(kv *mvccpb.KeyValue) {
	switch key := string(kv.Key); {
	case key == nextKey(v.prefix):
		v.next, v.nextRevision = handover{}, kv.ModRevision
		_ = json.Unmarshal(kv.Value, &v.next)
	case strings.HasPrefix(key, electionPrefix(v.prefix)+"/"):
		e := entry{created: kv.CreateRevision}
		_ = json.Unmarshal(kv.Value, &e.candidate)
		v.keys[key] = e
	}
}

// publish finds the leader, who is the first in the queue and has said that it leads, and wakes who waits.
func (v *view) publish() {
	first := entry{}
	for _, e := range v.keys {
		if first.created == 0 || e.created < first.created {
			first = e
		}
	}
	if first.Leads == nil {
		first = entry{}
	}
	v.leader = first
	switch {
	case first.created != 0:
		v.nobody = time.Time{}
	case v.nobody.IsZero():
		v.nobody = time.Now()
	}
	v.wake()
}

// wake wakes who waits for a change. v.mu is held.
func (v *view) wake() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// judged notes whether this node cannot lead.
func (v *view) judged(unfit bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unfit != unfit {
		v.unfit = unfit
		v.wake()
	}
}

// lose notes that the keys cannot be followed for now.
func (v *view) lose() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.blind.IsZero() {
		v.blind = time.Now()
	}
}

// forget notes that the keys are no longer followed, and nothing is known of them.
func (v *view) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys, v.nextRevision, v.leader, v.nobody, v.blind = nil, 0, entry{}, time.Time{}, time.Now()
	v.wake()
}

// snapshot is the view at one moment.
type snapshot struct {
	loaded bool
	// blind is since when the keys are not followed; zero while they are.
	blind        time.Time
	leader       entry
	nobody       time.Time
	next         handover
	nextRevision int64
	// unfit tells that this node cannot lead.
	unfit bool
	// waiting are the names of all candidates but the leader, sorted.
	waiting []string
	// changed is closed when this is no longer right.
	changed <-chan struct{}
}

func (v *view) snapshot() snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := snapshot{loaded: v.keys != nil, blind: v.blind, leader: v.leader, nobody: v.nobody, next: v.next, nextRevision: v.nextRevision,
		unfit: v.unfit, changed: v.changed}
	for _, e := range v.keys {
		if e.created != v.leader.created && e.Node != "" {
			s.waiting = append(s.waiting, e.Node)
		}
	}
	slices.Sort(s.waiting)
	return s
}

// admits tells whether the node, which is this one, may come to lead.
func (s snapshot) admits(node string) bool {
	return !s.unfit && (s.nextRevision == 0 || s.next.admits(node))
}
