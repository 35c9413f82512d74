package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"sort"
	"strconv"
)

// DocumentOptions says what a written document has beside the objects.
type DocumentOptions struct {
	// Revision adds the member "revision", which only the file of a file store has.
	Revision bool
	// Extra are further members.
	Extra map[string]json.RawMessage
}

// WriteDocument writes the snapshot as a state document, indented by two spaces, without holding it in memory.
// Equal states give equal bytes.
func (s *Snapshot) WriteDocument(w io.Writer, o DocumentOptions) error {
	d := documentWriter{w: bufio.NewWriterSize(w, 64<<10)}
	for r, k := range kinds {
		if k.layout != notInDocument && (s.objects[r].Len() > 0 || k.kind == KindSite) {
			if err := d.kind(s, r); err != nil {
				return err
			}
		}
	}
	if s.head.KeyID != "" {
		d.member(memberKeyID)
		id, err := marshal(s.head.KeyID)
		if err != nil {
			return err
		}
		d.value(id, "  ")
	}
	if o.Revision {
		d.member(memberRevision)
		d.value(strconv.AppendInt(nil, s.revision, 10), "  ")
	}
	names := make([]string, 0, len(o.Extra))
	for n := range o.Extra {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		d.member(n)
		d.value(o.Extra[n], "  ")
	}
	d.text("\n}\n")
	if d.err != nil {
		return d.err
	}
	return d.w.Flush()
}

// documentWriter keeps the first error; what follows it is dropped.
type documentWriter struct {
	w       *bufio.Writer
	buf     bytes.Buffer
	members int
	err     error
}

func (d *documentWriter) text(s string) {
	if d.err == nil {
		_, d.err = d.w.WriteString(s)
	}
}

func (d *documentWriter) member(name string) {
	if d.members++; d.members == 1 {
		d.text("{\n  ")
	} else {
		d.text(",\n  ")
	}
	d.key(name)
}

func (d *documentWriter) key(name string) {
	b, err := marshal(name)
	if err != nil && d.err == nil {
		d.err = err
	}
	d.text(string(b) + ": ")
}

func (d *documentWriter) value(raw []byte, prefix string) {
	if d.err != nil {
		return
	}
	d.buf.Reset()
	if d.err = json.Indent(&d.buf, raw, prefix, "  "); d.err == nil {
		_, d.err = d.w.Write(d.buf.Bytes())
	}
}

func (d *documentWriter) kind(s *Snapshot, rank int) error {
	k := kinds[rank]
	d.member(string(k.kind))
	open, end, prefix := "[", "]", "    "
	switch k.layout {
	case asMap:
		open, end = "{", "}"
	case asSingle:
		open, end, prefix = "", "", "  "
	}
	d.text(open)
	n := 0
	s.objects[rank].Scan(func(name string, e entry) bool {
		if k.layout != asSingle {
			if n++; n > 1 {
				d.text(",")
			}
			d.text("\n" + prefix)
		}
		if k.layout == asMap {
			d.key(name)
		}
		raw, err := e.object.MarshalJSON()
		if err != nil {
			d.err = err
		}
		d.value(raw, prefix)
		return d.err == nil
	})
	if n > 0 {
		d.text("\n  ")
	}
	d.text(end)
	return d.err
}
