package filestore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"

	"statiko/state"
)

// The journal is text. Each line is the CRC-32C of the rest in eight hexadecimal digits, a blank, and JSON: first
// a header, then one record a commit.
//
// A crash may tear what was being appended, in any order of its pages, while everything that was fsynced before is
// whole. So each record says which was the first of its group ("b"), those written with the same fsync: a broken
// line that is followed by records of its own group only was never acknowledged; one that is followed by a later
// group was, and the file is damaged.

// journalVersion is the format of the journal that this version writes and reads.
const journalVersion = 1

// header is the journal's first line.
type header struct {
	Version int `json:"journal"`
	// Base is the revision of the document that the journal builds on, and Document its SHA-256 in hexadecimal.
	Base     int64  `json:"base"`
	Document string `json:"document"`
	// Line is the number after which those of the records that were appended since continue.
	Line int64 `json:"line"`
	// Lines is how many records were made durable together with the header.
	Lines int `json:"lines"`
}

// record is any further line: a commit (Ops), or the announcement that the document is about to be replaced
// (Document).
type record struct {
	// Line counts records; Group is the Line of the first of those that were written together.
	Line  int64 `json:"n"`
	Group int64 `json:"b"`
	// Revision is that of the commit, or of the document.
	Revision int64 `json:"rev"`
	// Document is the SHA-256 of the document that may now stand in the file.
	Document string `json:"document,omitempty"`
	Ops      []op   `json:"ops,omitempty"`
}

// op is one change: of the object of a kind (K) and name (N) to a value, or its removal if there is none.
type op struct {
	K state.Kind      `json:"k"`
	N string          `json:"n,omitempty"`
	V json.RawMessage `json:"v,omitempty"`
}

func (o op) key() state.Key { return state.Key{Kind: o.K, Name: o.N} }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLine appends v as a line of the journal.
func appendLine(lines []byte, v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	// Values must come back as the bytes that they were, < and > included.
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return lines, err
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	lines = fmt.Appendf(lines, "%08x ", crc32.Checksum(text, castagnoli))
	lines = append(lines, text...)
	return append(lines, '\n'), nil
}

// lineText returns the JSON of a line, which has no newline, or false if the line is broken.
func lineText(line []byte) ([]byte, bool) {
	if len(line) < 10 || line[8] != ' ' {
		return nil, false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[9:], castagnoli) {
		return nil, false
	}
	return line[9:], true
}

// opsOf returns what a transaction changes, without what is derived from the objects.
func opsOf(t *state.Txn) []op {
	ops := make([]op, 0, len(t.Writes))
	for _, w := range t.Writes {
		if w.Key.Kind == state.KindName || w.Key.Kind == state.KindGuard {
			continue
		}
		o := op{K: w.Key.Kind, N: w.Key.Name}
		if w.Object != nil {
			o.V = w.Data
		}
		ops = append(ops, o)
	}
	return ops
}

// journal is a journal that was read.
type journal struct {
	header  header
	records []record
	// length is that of all whole lines, in bytes; torn is how many bytes followed.
	length, torn int64
}

// last returns the newest revision in the journal.
func (j *journal) last() int64 {
	last := j.header.Base
	for _, r := range j.records {
		last = max(last, r.Revision)
	}
	return last
}

// line returns the number of the last record.
func (j *journal) line() int64 {
	line := j.header.Line
	for _, r := range j.records {
		line = max(line, r.Line)
	}
	return line
}

// wrote tells whether the document with the digest is one that the store put, or was about to put, into the file.
func (j *journal) wrote(digest string) bool {
	for _, r := range j.records {
		if r.Document == digest {
			return true
		}
	}
	return j.header.Document == digest
}

// parseJournal reads a journal. The error names the line that is damaged.
func parseJournal(data []byte) (*journal, error) {
	j := &journal{}
	number := 0
	for rest := data; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		number++
		text, ok := lineText(line)
		if !whole || !ok {
			if number == 1 {
				return nil, fmt.Errorf("line 1: the header is damaged")
			}
			if number-1 <= j.header.Lines || j.ackedBehind(after) {
				return nil, fmt.Errorf("line %d: the record is damaged, and is not the last", number)
			}
			j.torn = int64(len(rest))
			return j, nil
		}
		if err := j.readLine(number, text); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		j.length += int64(len(line)) + 1
		rest = after
	}
	if len(j.records) < j.header.Lines {
		return nil, fmt.Errorf("line %d: records are missing at the end", number+1)
	}
	return j, nil
}

func (j *journal) readLine(number int, text []byte) error {
	if number == 1 {
		if err := json.Unmarshal(text, &j.header); err != nil {
			return err
		}
		if j.header.Version != journalVersion {
			return fmt.Errorf("the journal has format %d, and this version of statiko knows %d only: start the version that wrote it once more and stop it, which empties the journal",
				j.header.Version, journalVersion)
		}
		return nil
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	j.records = append(j.records, r)
	return nil
}

// ackedBehind tells whether, behind a broken line, there is a record of a group that was begun after the broken
// line's own had been made durable.
func (j *journal) ackedBehind(rest []byte) bool {
	broken := j.line() + 1
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		text, ok := lineText(line)
		if !ok {
			continue
		}
		var r record
		if json.Unmarshal(text, &r) == nil && r.Group > broken {
			return true
		}
	}
	return false
}
