package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
)

// nodes is the file of known nodes: by host:port, what is known of each. The earlier program's entries are keyed by
// the host alone and hold for all ports. Members that this version does not know are kept.
type nodes struct {
	path    string
	entries map[string]map[string]any
}

// Members of an entry.
const (
	memberKey = "sharedKey"
	memberPin = "fingerprint"
)

func (a *app) readNodes() (*nodes, error) {
	path, err := a.file("nodes.json")
	if err != nil {
		return nil, err
	}
	n := &nodes{path: path, entries: map[string]map[string]any{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return nil, localError(err, "could not read the keys of nodes")
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return n, nil
	}
	if err := json.Unmarshal(b, &n.entries); err != nil {
		return nil, localError(err, "%s cannot be read", path).withHint("repair the file, or remove it and run stkcli auth psk again")
	}
	if n.entries == nil {
		n.entries = map[string]map[string]any{}
	}
	return n, nil
}

// get returns a member for the node; "" if there is none.
func (n *nodes) get(t target, member string) string {
	s, _ := n.entries[t.address()][member].(string)
	if s == "" && member == memberKey {
		s, _ = n.entries[t.host][member].(string)
	}
	return s
}

// set stores a member for the node, or removes it if value is "", and writes the file.
func (n *nodes) set(t target, member, value string) error {
	entry := n.entries[t.address()]
	if entry == nil {
		entry = map[string]any{}
	}
	if value == "" {
		delete(entry, member)
	} else {
		entry[member] = value
	}
	n.entries[t.address()] = entry
	if len(entry) == 0 {
		delete(n.entries, t.address())
	}
	b, err := json.MarshalIndent(n.entries, "", "  ")
	if err != nil {
		return localError(err, "could not encode the keys of nodes")
	}
	return writeOwn(n.path, append(b, '\n'))
}
