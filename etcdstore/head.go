package etcdstore

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"statiko/state"
)

// version is that of the keys and objects that this program reads and writes.
const version = 1

// headRecord is the value of the head key.
type headRecord struct {
	ID         string `json:"id"`
	Epoch      int64  `json:"epoch"`
	Generation int64  `json:"generation"`
	KeyID      string `json:"keyId,omitempty"`
	// Replaces are the ids of states that an administrator decided to give up for this one, newest last.
	Replaces []string `json:"replaces,omitempty"`
	// MinReader and MinWriter are the lowest versions that may read and change the state.
	MinReader int `json:"minReader,omitempty"`
	MinWriter int `json:"minWriter,omitempty"`

	// revision is that of the key's last change.
	revision int64
}

func newHead(keyID string) headRecord {
	return headRecord{ID: rand.Text(), Epoch: 1, Generation: 1, KeyID: keyID, MinReader: version, MinWriter: version}
}

func (h headRecord) state() state.Head {
	return state.Head{ID: h.ID, Epoch: h.Epoch, Generation: h.Generation, KeyID: h.KeyID}
}

// epochBits is how many bits of a snapshot's revision are etcd's own.
const epochBits = 40

// lift returns the snapshot's revision for one of etcd's. etcd's go back when an older copy of it is put in force,
// which is a new epoch; a snapshot's never do.
func (h headRecord) lift(revision int64) int64 { return (h.Epoch-1)<<epochBits + revision }

// lower is the inverse of lift. 0, which stands for what does not exist, stays.
func (h headRecord) lower(revision int64) int64 { return revision & (1<<epochBits - 1) }

// same tells whether two heads are of one history and generation.
func (h headRecord) same(o headRecord) bool {
	return h.ID == o.ID && h.Epoch == o.Epoch && h.Generation == o.Generation
}

// maxReplaces bounds headRecord.Replaces: a node that missed more decisions than that stays detached.
const maxReplaces = 16

// decided returns the head of the next epoch, after a decision that gives up ours for h.
func (h headRecord) decided(ours headRecord) headRecord {
	h.Epoch = max(h.Epoch, ours.Epoch) + 1
	if ours.ID != "" && ours.ID != h.ID && !slices.Contains(h.Replaces, ours.ID) {
		h.Replaces = append(slices.Clone(h.Replaces), ours.ID)
		h.Replaces = h.Replaces[max(0, len(h.Replaces)-maxReplaces):]
	}
	return h
}

// supersedes tells whether an administrator decided that h takes the place of ours.
func (h headRecord) supersedes(ours headRecord) bool {
	return h.Epoch > ours.Epoch && (h.ID == ours.ID || slices.Contains(h.Replaces, ours.ID))
}

// changeable is an error if this program must not change the state that the head is of.
func (h headRecord) changeable() error {
	if h.MinWriter > version {
		return unavailable(fmt.Sprintf("the state in etcd is of a newer version (%d) than this program can change (%d): update this node", h.MinWriter, version))
	}
	return nil
}

// Changeable is an error, [state.ErrUnavailable], if this program is too old to change the state that it follows, or does not
// know yet.
func (s *Store) Changeable() error {
	now, _ := s.replica()
	if now.head.ID == "" {
		return unavailable("nothing is known of the state yet")
	}
	return now.head.changeable()
}

func (h headRecord) encode() (string, error) {
	b, err := json.Marshal(h)
	return string(b), err
}

func decodeHead(kv *mvccpb.KeyValue) (headRecord, error) {
	var h headRecord
	if err := json.Unmarshal(kv.Value, &h); err != nil || h.ID == "" || h.Generation < 1 {
		return h, fmt.Errorf("the key %s in etcd does not say which state this is", kv.Key)
	}
	h.revision = kv.ModRevision
	if h.MinReader > version {
		return h, fmt.Errorf("the state in etcd is of a newer version (%d) than this program can read (%d): update this node", h.MinReader, version)
	}
	return h, nil
}
