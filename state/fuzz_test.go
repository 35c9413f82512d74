package state

import (
	"bytes"
	"errors"
	"testing"
)

func addDocuments(f *testing.F) {
	for _, text := range []string{
		contractExample, fullExample, `{}`, `{"sites":null}`, `{"sites":[]}`, `[]`, ``, `{"sites":[{"domain":"a.test","aliases":"x"},7,null]}`,
		`{"sites":[{"domain":"A.test"},{"domain":"a.test"}],"newer":{"a":"\u0000<"},"keyId":"\u0001","revision":3}`,
		`{"secrets":{"a":"AA==","b":"%","a":null},"quarantine":[{"name":"sites/x"},{"name":"sites/x"}]}`,
		`{"apps":[{"name":"a","type":"zip","sha256":"0000000000000000000000000000000000000000000000000000000000000000","uploaded":"0000-01-01T00:00:00+01:00"}]}`,
		`{"sites":[{"domain":"日本。test","tls":{"type":"akv","cert":"x"}}],"dhparams":{"time":"2031-02-03T04:05:06.123456789+23:59","pem":"x"}}`,
	} {
		f.Add([]byte(text))
	}
}

// What a strict parse takes is written, and parsed again, without a difference; an error names a place.
func FuzzParseDocument(f *testing.F) {
	addDocuments(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := ParseDocument(data)
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || len(invalid.Faults) == 0 {
				t.Fatalf("an error without faults: %v", err)
			}
			for _, fault := range invalid.Faults {
				if fault.Line < 1 || fault.Column < 1 || fault.Line > 1+bytes.Count(data, []byte("\n")) {
					t.Fatalf("the fault %v has no place", fault)
				}
			}
			return
		}
		first := write(t, doc, DocumentOptions{Revision: true})
		again, err := ParseDocument(first)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, first)
		}
		if second := write(t, again, DocumentOptions{Revision: true}); !bytes.Equal(first, second) {
			t.Fatalf("first\n%s\nthen\n%s", first, second)
		}
		checkNames(t, doc)
	})
}

// What boot takes is written and loaded again to the same bytes, with nothing left to repair.
func FuzzLoadDocument(f *testing.F) {
	addDocuments(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := LoadDocument(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		first := write(t, doc, DocumentOptions{Revision: true, Extra: doc.Extra})
		again, err := LoadDocument(first)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, first)
		}
		if len(again.Repairs) > 0 {
			t.Fatalf("repaired again: %q\n%s", again.Repairs, first)
		}
		if second := write(t, again, DocumentOptions{Revision: true, Extra: again.Extra}); !bytes.Equal(first, second) {
			t.Fatalf("first\n%s\nthen\n%s", first, second)
		}
		checkNames(t, doc)
	})
}

// checkNames makes sure that every name leads to its one site.
func checkNames(t *testing.T, doc *Document) {
	s := NewSnapshot(Head{}, 0).Restored(doc, 1)
	names := 0
	for site := range s.Sites() {
		for _, name := range site.Names() {
			names++
			if found, ok := s.Site(name); !ok || found != site {
				t.Fatalf("%s does not lead to %s", name, site.Domain)
			}
		}
	}
	if n := s.Len(KindName); n != names {
		t.Fatalf("%d names in the index, %d on the sites", n, names)
	}
}

func FuzzCheckDomain(f *testing.F) {
	for _, s := range []string{"a.test", "A.TEST.", "bücher.example", "xn--bcher-kva.test", "１９２.0.2.1", "a。b", "_default", "*.a", "xn--a", "ß.test", "\u200d.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		stored, err := CheckDomain(name)
		if err != nil {
			return
		}
		if again, err := CheckDomain(stored); err != nil || again != stored {
			t.Fatalf("%q is stored as %q, which is stored as %q, %v", name, stored, again, err)
		}
		for _, c := range stored {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
				t.Fatalf("%q is stored as %q", name, stored)
			}
		}
		if len(stored) > 253 || stored[0] == '.' || stored[len(stored)-1] == '.' {
			t.Fatalf("%q is stored as %q", name, stored)
		}
	})
}
