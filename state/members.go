package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"time"
)

// extras are the members of a JSON object that this version does not know. They are kept when the object is
// written again, so that a newer node's members survive an older node's change.
type extras map[string]json.RawMessage

// decodeMembers decodes the JSON object data into the pointers of known, and returns the other members.
func decodeMembers(data []byte, known map[string]any) (extras, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	if all == nil {
		return nil, fmt.Errorf("is null, not an object")
	}
	var rest extras
	for name, raw := range all {
		into, ok := known[name]
		if !ok {
			if rest == nil {
				rest = extras{}
			}
			rest[name] = raw
			continue
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, &memberError{name, err}
		}
	}
	return rest, nil
}

// memberError says which member could not be decoded.
type memberError struct {
	member string
	err    error
}

func (e *memberError) Error() string { return e.member + ": " + plainJSONError(e.err) }
func (e *memberError) Unwrap() error { return e.err }

// plainJSONError words a decoding error without the names of Go types.
func plainJSONError(err error) string {
	if t, ok := err.(*json.UnmarshalTypeError); ok {
		return fmt.Sprintf("is a %s, which does not belong here", t.Value)
	}
	if t, ok := err.(*time.ParseError); ok {
		return fmt.Sprintf("%q is not a time like 2006-01-02T15:04:05Z", t.Value)
	}
	return err.Error()
}

// encode appends the unknown members to the JSON object known, in the order of their names.
func (x extras) encode(known any) ([]byte, error) {
	data, err := marshal(known)
	if err != nil || len(x) == 0 {
		return data, err
	}
	names := make([]string, 0, len(x))
	for n := range x {
		names = append(names, n)
	}
	sort.Strings(names)
	b := bytes.NewBuffer(bytes.TrimSuffix(data, []byte("}")))
	for i, n := range names {
		if i > 0 || len(data) > len("{}") {
			b.WriteByte(',')
		}
		key, err := marshal(n)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(x[n])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal is json.Marshal without the escaping of <, > and &.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
