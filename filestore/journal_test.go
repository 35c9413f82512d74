package filestore

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"statiko/state"
)

// lines returns a journal's text: a header, and records as "line group" pairs; "x" breaks the line.
func lines(t *testing.T, head header, records ...string) []byte {
	t.Helper()
	head.Version = journalVersion
	data, err := appendLine(nil, head)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		var rec record
		broken := strings.HasSuffix(r, "x")
		if _, err := fmt.Sscanf(strings.TrimSuffix(r, "x"), "%d %d", &rec.Line, &rec.Group); err != nil {
			t.Fatal(err)
		}
		rec.Revision = int64(100 + i)
		start := len(data)
		if data, err = appendLine(data, rec); err != nil {
			t.Fatal(err)
		}
		if broken {
			data[start+12] ^= 1
		}
	}
	return data
}

func TestParseJournal_TornOrDamaged(t *testing.T) {
	t.Parallel()
	for hazard, c := range map[string]struct {
		head    header
		records []string
		// want is how many records are read, or -1 for damage.
		want int
	}{
		"whole":                                  {header{Line: 7}, []string{"8 8", "9 9", "10 9"}, 3},
		"last record torn":                       {header{Line: 7}, []string{"8 8", "9 9x"}, 1},
		"first of the last group torn":           {header{Line: 7}, []string{"8 8", "9 9x", "10 9", "11 9"}, 1},
		"middle of the last group torn":          {header{Line: 7}, []string{"8 8", "9 9", "10 9x", "11 9"}, 2},
		"all of the last group torn":             {header{Line: 7}, []string{"8 8", "9 9x", "10 9x"}, 1},
		"first record torn":                      {header{Line: 7}, []string{"8 8x", "9 8"}, 0},
		"acknowledged, then a group":             {header{Line: 7}, []string{"8 8x", "9 9"}, -1},
		"acknowledged in a group":                {header{Line: 7}, []string{"8 8", "9 8x", "10 8", "11 11"}, -1},
		"acknowledged, and the last group torn":  {header{Line: 7}, []string{"8 8x", "9 9x", "10 9"}, -1},
		"written with the header":                {header{Line: 8, Lines: 2}, []string{"0 0", "8 8x"}, -1},
		"written with the header, then a group":  {header{Line: 8, Lines: 1}, []string{"0 0x", "9 9"}, -1},
		"missing at the end":                     {header{Line: 8, Lines: 2}, []string{"0 0"}, -1},
		"first after what came with the header":  {header{Line: 8, Lines: 2}, []string{"0 0", "8 8", "9 9x", "10 9"}, 2},
		"second after what came with the header": {header{Line: 8, Lines: 2}, []string{"0 0", "8 8", "9 9x", "10 10"}, -1},
	} {
		j, err := parseJournal(lines(t, c.head, c.records...))
		switch {
		case c.want < 0 && err == nil:
			t.Errorf("%s: it was taken", hazard)
		case c.want < 0:
			if !strings.Contains(err.Error(), "line ") {
				t.Errorf("%s: the error names no line: %v", hazard, err)
			}
		case err != nil:
			t.Errorf("%s: %v", hazard, err)
		case len(j.records) != c.want:
			t.Errorf("%s: %d records of %d", hazard, len(j.records), c.want)
		}
	}
}

func TestParseJournal_CutAnywhere(t *testing.T) {
	t.Parallel()
	data := lines(t, header{Line: 7}, "8 8", "9 9", "10 10")
	head := bytes.IndexByte(data, '\n') + 1
	for cut := 1; cut <= len(data); cut++ {
		for _, rest := range []string{"", "\x00\x00\x00", "\x00\n\x00\n"} {
			j, err := parseJournal(append(bytes.Clone(data[:cut]), rest...))
			if cut < head {
				if err == nil {
					t.Fatalf("cut at %d in the header: it was taken", cut)
				}
				continue
			}
			whole := bytes.Count(data[:cut], []byte("\n")) - 1
			if err != nil || len(j.records) != whole {
				t.Fatalf("cut at %d, then %q: %d records of %d, %v", cut, rest, len(j.records), whole, err)
			}
			if int(j.length+j.torn) != cut+len(rest) {
				t.Fatalf("cut at %d: %d bytes and %d torn", cut, j.length, j.torn)
			}
		}
	}
}

func TestParseJournal_OtherVersion(t *testing.T) {
	t.Parallel()
	data, err := appendLine(nil, map[string]int{"journal": 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseJournal(data); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Fatal(err)
	}
}

// Numbers of records go on without a gap over folds, or a torn group could be taken for damage.
func TestJournal_NumbersHaveNoGaps(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	for i := range 6 {
		mustPut(t, s, siteOf(fmt.Sprintf("n%d.test", i)), &state.Record{Kind: state.KindEvent, Name: fmt.Sprint(i), Data: []byte("1")})
		if i%2 == 1 {
			fold(t, s)
		}
		if i == 4 {
			s.Close()
			s = open(t, quietly(path))
		}
	}
	mustPut(t, s, siteOf("last.test"))
	j, err := parseJournal([]byte(readText(t, path+".journal")))
	if err != nil {
		t.Fatal(err)
	}
	last := j.header.Line
	for _, r := range j.records[j.header.Lines:] {
		if r.Line != last+1 {
			t.Fatalf("record %d after %d", r.Line, last)
		}
		last = r.Line
	}
	if last == j.header.Line {
		t.Fatal("there are no records after the header's")
	}
}

func TestJournal_TornTailIsDroppedAndLogged(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"))
	copied := killed(t, path)
	f, err := os.OpenFile(copied+".journal", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`0badc0de {"n":3,"b":3,"rev":3,"ops":[{"k":"sites","n":"b.te`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	log, logged := observed()
	o := quietly(copied)
	o.Log = log
	again := open(t, o)
	wantDomains(t, again, "a.test")
	if !logged("not written to its end") {
		t.Error("nothing was logged")
	}
	mustPut(t, again, siteOf("c.test"))
	again.Close()
	wantDomains(t, open(t, quietly(copied)), "a.test c.test")
}

func TestJournal_DamageIsNamedAndNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	for i := range 3 {
		mustPut(t, s, siteOf(fmt.Sprintf("n%d.test", i)))
	}
	copied := killed(t, path)
	damaged := strings.Replace(readText(t, copied+".journal"), "n1.test", "nX.test", 1)
	writeText(t, copied+".journal", damaged)
	document := readText(t, copied)
	_, err := Open(quietly(copied))
	if err == nil || !strings.Contains(err.Error(), copied+".journal") || !strings.Contains(err.Error(), "line 3") {
		t.Fatalf("got %v", err)
	}
	if readText(t, copied+".journal") != damaged || readText(t, copied) != document {
		t.Fatal("a file was changed")
	}
}

// What only a newer version knows survives in the journal of an older one.
func TestJournal_KindsOfANewerVersionAreKept(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := open(t, quietly(path))
	mustPut(t, s, siteOf("a.test"))
	s.Close()
	data := []byte(readText(t, path+".journal"))
	j, err := parseJournal(data)
	if err != nil {
		t.Fatal(err)
	}
	for i, ops := range [][]op{{{K: "quotas", N: "a", V: []byte(`{"x":"<1>"}`)}, {K: "quotas", N: "b", V: []byte(`1`)}}, {{K: "quotas", N: "b"}}} {
		line := j.line() + 1 + int64(i)
		if data, err = appendLine(data, record{Line: line, Group: line, Revision: 50 + int64(i), Ops: ops}); err != nil {
			t.Fatal(err)
		}
	}
	writeText(t, path+".journal", string(data))
	for range 3 {
		s := open(t, quietly(path))
		mustPut(t, s, siteOf("b.test", fmt.Sprintf("n%d.test", s.Snapshot().Revision())))
		s.Close()
	}
	if text := readText(t, path+".journal"); !strings.Contains(text, `{"k":"quotas","n":"a","v":{"x":"<1>"}}`) || strings.Contains(text, `"n":"b"`) {
		t.Fatalf("the journal is\n%s", text)
	}
}
