package state

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// lineColumn returns the place of a byte of data, both from 1.
func lineColumn(data []byte, offset int) (line, column int) {
	offset = max(0, min(offset, len(data)))
	before := data[:offset]
	return 1 + bytes.Count(before, []byte("\n")), offset - bytes.LastIndexByte(before, '\n')
}

// offsetOf returns where in the JSON value raw the value at path begins, a path such as "tls.cert" or
// "aliases[1]". What is not there is at the beginning of what encloses it.
func offsetOf(raw []byte, path string) int {
	at := 0
	path = strings.ReplaceAll(path, "[", ".[")
	for step := range strings.SplitSeq(path, ".") {
		next, ok := child(raw[at:], step)
		if !ok {
			return at
		}
		at += next
	}
	return at
}

// child returns where a member or an element ("[1]") of the JSON value raw begins.
func child(raw []byte, step string) (int, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	open, err := dec.Token()
	if err != nil || step == "" {
		return 0, false
	}
	index, isIndex := strings.CutPrefix(step, "[")
	want, _ := strconv.Atoi(strings.TrimSuffix(index, "]"))
	if isIndex != (open == json.Delim('[')) || !isIndex && open != json.Delim('{') {
		return 0, false
	}
	for i := 0; dec.More(); i++ {
		found := isIndex && i == want
		if !isIndex {
			name, err := dec.Token()
			if err != nil {
				return 0, false
			}
			found = name == step
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return 0, false
		}
		if found {
			return int(dec.InputOffset()) - len(v), true
		}
	}
	return 0, false
}
