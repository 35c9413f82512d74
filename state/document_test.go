package state

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// contractExample is the document of the contract.
const contractExample = `{"sites":[
  {"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"imported","cert":"wildcard-2020"},"app":{"name":"docs-41"}},
  {"domain":"wildly-happy-otter-512.preview.example.org","aliases":null,"temporary":true,"tls":{"type":"selfsigned"},"app":null}],
 "secrets":{"cert/imported/wildcard-2020":"ZGVmZ2hpamtsbW5vGWJOpd0CuPrQew5Tw5h/pXacSiCFHaRdpG36YyVco+jY"},
 "dhparams":{"time":"2020-06-02T03:04:05Z","pem":"-----BEGIN DH PARAMETERS-----\n…\n-----END DH PARAMETERS-----\n"}}
`

// fullExample has every kind of the document, and members that only a newer version knows.
const fullExample = `{
  "sites": [
    {
      "domain": "a.test",
      "aliases": [],
      "tls": {
        "type": "imported",
        "cert": "c",
        "newer": {
          "x": []
        }
      },
      "app": {
        "name": "app-1"
      },
      "later": "<&>"
    },
    {
      "domain": "b.test",
      "aliases": null,
      "temporary": true,
      "tls": {
        "type": "selfsigned"
      },
      "app": null
    }
  ],
  "secrets": {
    "cert/imported/c": "AAEC"
  },
  "dhparams": {
    "time": "2031-02-03T04:05:06.5+02:00",
    "pem": "x",
    "newer": 1
  },
  "apps": [
    {
      "name": "app-1",
      "type": "zip",
      "size": 12,
      "sha256": "0000000000000000000000000000000000000000000000000000000000000000",
      "uploaded": "2031-02-03T04:05:06Z",
      "newer": {}
    }
  ],
  "quarantine": [
    {
      "name": "sites/x",
      "kind": "sites",
      "object": "x",
      "reason": "why",
      "raw": {
        "domain": 1
      }
    }
  ],
  "keyId": "0123abcd"
}
`

func write(t testing.TB, doc *Document, o DocumentOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := NewSnapshot(Head{}, 0).Restored(doc, 7).WriteDocument(&b, o); err != nil {
		t.Fatalf("write: %v", err)
	}
	return b.Bytes()
}

func TestParseDocument_ContractExample(t *testing.T) {
	for name, parse := range map[string]func([]byte) (*Document, error){"strict": ParseDocument, "lenient": LoadDocument} {
		doc, err := parse([]byte(contractExample))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(doc.Repairs) > 0 || len(doc.Objects(KindQuarantine)) > 0 {
			t.Fatalf("%s: it was repaired: %v", name, doc.Repairs)
		}
		s := NewSnapshot(Head{}, 0).Restored(doc, 1)
		if site, ok := s.Site("www.docs.example.org"); !ok || site.TLS.Certificate != "wildcard-2020" || site.AppName() != "docs-41" {
			t.Fatalf("%s: got %+v", name, site)
		}
		if site, ok := s.Site("wildly-happy-otter-512.preview.example.org"); !ok || !site.Temporary || site.Aliases != nil || site.App != nil {
			t.Fatalf("%s: got %+v", name, site)
		}
		if d, ok := s.DHParams(); !ok || !strings.HasPrefix(d.PEM, "-----BEGIN") {
			t.Fatalf("%s: got %+v", name, d)
		}
		if secret, ok := s.Secret("cert/imported/wildcard-2020"); !ok || len(secret.Sealed) != 45 {
			t.Fatalf("%s: got %+v", name, secret)
		}
	}
}

func TestDocument_RoundTripKeepsEveryByte(t *testing.T) {
	for name, parse := range map[string]func([]byte) (*Document, error){"strict": ParseDocument, "lenient": LoadDocument} {
		doc, err := parse([]byte(fullExample))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := write(t, doc, DocumentOptions{}); string(got) != fullExample {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
}

func TestDocument_FileMembers(t *testing.T) {
	text := `{"sites": [], "revision": 42, "newer": {"a": [1]}, "older": "x"}`
	doc, err := LoadDocument([]byte(text))
	if err != nil || doc.Revision != 42 {
		t.Fatalf("got %+v, %v", doc, err)
	}
	want := "{\n  \"sites\": [],\n  \"revision\": 7,\n  \"newer\": {\n    \"a\": [\n      1\n    ]\n  },\n  \"older\": \"x\"\n}\n"
	if got := write(t, doc, DocumentOptions{Revision: true, Extra: doc.Extra}); string(got) != want {
		t.Fatalf("got\n%s", got)
	}
	if got := write(t, &Document{}, DocumentOptions{}); string(got) != "{\n  \"sites\": []\n}\n" {
		t.Fatalf("an empty state is\n%s", got)
	}
}

func TestParseDocument_FaultsHaveTheirPlace(t *testing.T) {
	for hazard, c := range map[string]struct {
		text   string
		faults []string // line:column field
	}{
		"empty":            {"", []string{"1:1 "}},
		"truncated":        {"{\n  \"sites\": [\n    {\"domain\": \"a.te", []string{"3:21 "}},
		"not JSON":         {"{\n  \"sites\": nul]\n}", []string{"2:15 "}},
		"trailing comma":   {"{\n  \"sites\": [],\n}", []string{"3:1 "}},
		"two documents":    {"{\"sites\": []}\n{\"sites\": []}", []string{"2:1 "}},
		"an array":         {" []", []string{"1:1 "}},
		"null":             {"null", []string{"1:1 "}},
		"no sites":         {"{\"secrets\": {}}", []string{"1:1 sites"}},
		"sites null":       {"{\"sites\": null}", []string{"1:11 sites"}},
		"sites an object":  {"{\"sites\": {}}", []string{"1:11 sites"}},
		"sites twice":      {"{\"sites\": [],\n \"sites\": []}", []string{"2:2 sites"}},
		"unknown member":   {"{\"sites\": [],\n \"site\": []}", []string{"2:10 site"}},
		"members inside":   {"{\"sites\": [],\n \"events\": []}", []string{"2:12 events"}},
		"site not object":  {"{\"sites\": [\n 1]}", []string{"2:2 sites[0]"}},
		"site null":        {"{\"sites\": [null]}", []string{"1:12 sites[0]"}},
		"wrong JSON type":  {"{\"sites\": [{\"domain\": \"a.test\",\n\"aliases\": \"b.test\"}]}", []string{"2:12 sites[0].aliases"}},
		"duplicate domain": {"{\"sites\": [{\"domain\": \"a.test\"},\n{\"domain\": \"A.test\"}]}", []string{"2:12 sites[1].domain"}},
		"duplicate alias": {"{\"sites\": [\n{\"domain\": \"a.test\", \"aliases\": [\"www.test\"]},\n{\"domain\": \"b.test\", \"aliases\": [\"c.test\", \"WWW.test\"]}]}",
			[]string{"3:44 sites[1].aliases[1]"}},
		"alias is a domain": {"{\"sites\": [\n{\"domain\": \"a.test\"},\n{\"domain\": \"b.test\", \"aliases\": [\"a.test\"]}]}", []string{"3:34 sites[1].aliases[0]"}},
		"no certificate":    {"{\"sites\": [{\"domain\": \"a.test\",\n \"tls\": {\"type\": \"imported\", \"cert\": \"x\"}}]}", []string{"2:38 sites[0].tls.cert"}},
		"app leaves folder": {"{\"sites\": [{\"domain\": \"a.test\",\n \"app\": {\"name\": \"../../../etc\"}}]}", []string{"2:18 sites[0].app.name"}},
		"secret no base64":  {"{\"sites\": [], \"secrets\": {\"a\":\n \"%\"}}", []string{"2:2 secrets[\"a\"]"}},
		"secret twice":      {"{\"sites\": [], \"secrets\": {\"a\": \"\",\n \"a\": \"\"}}", []string{"2:7 secrets[\"a\"]"}},
		"app twice": {"{\"sites\": [], \"apps\": [\n" + appJSONText("a") + ",\n" + appJSONText("A") + "]}",
			[]string{"3:10 apps[1].name"}},
		"dhparams empty":    {"{\"sites\": [], \"dhparams\": {}}", []string{"1:27 dhparams.pem"}},
		"negative revision": {"{\"sites\": [], \"revision\": -1}", []string{"1:27 revision"}},
		"key id a number":   {"{\"sites\": [], \"keyId\": 1}", []string{"1:24 keyId"}},
		"all faults at once": {"{\"sites\": [\n{\"domain\": \"_default\"},\n{\"domain\": \"b.test\", \"aliases\": [\"*.test\", \"-\"]}],\n \"x\": 1}",
			[]string{"2:12 sites[0].domain", "3:34 sites[1].aliases[0]", "3:44 sites[1].aliases[1]", "4:7 x"}},
	} {
		doc, err := ParseDocument([]byte(c.text))
		var invalid *InvalidError
		if !errors.As(err, &invalid) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, %v", hazard, doc, err)
			continue
		}
		var got []string
		for _, f := range invalid.Faults {
			got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Column, f.Field))
			if f.Message == "" {
				t.Errorf("%s: a fault without a message", hazard)
			}
		}
		if strings.Join(got, "|") != strings.Join(c.faults, "|") {
			t.Errorf("%s: got %q, want %q: %v", hazard, got, c.faults, err)
		}
	}
}

func appJSONText(name string) string {
	return `{"name": "` + name + `", "type": "zip", "size": 1, "sha256": "` + strings.Repeat("0", 64) + `", "uploaded": "2031-02-03T04:05:06Z"}`
}

// Weakness W9 of the earlier program: a document without secrets wiped the imported certificates.
func TestW9_DocumentWithoutSitesOrCertificateIsRefused(t *testing.T) {
	for _, text := range []string{
		`{}`,
		`{"secrets":{}}`,
		`{"sites":null}`,
		`{"sites":[{"domain":"a.test","tls":{"type":"imported","cert":"wild"}}]}`,
		`{"sites":[{"domain":"a.test","tls":{"type":"imported","cert":"wild"}}],"secrets":{"cert/imported/wil":""}}`,
	} {
		if _, err := ParseDocument([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Weakness W16 of the earlier program: such a site crashed the process, again at each start.
func TestW16_SiteWithoutTLSIsSelfSigned(t *testing.T) {
	for name, parse := range map[string]func([]byte) (*Document, error){"strict": ParseDocument, "lenient": LoadDocument} {
		doc, err := parse([]byte(`{"sites":[{"domain":"x.test"},{"domain":"y.test","aliases":["Z.test"],"tls":null},{"domain":"akv.test","tls":{"type":"akv","cert":"wild"}}]}`))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sites := doc.Objects(KindSite)
		if len(sites) != 3 {
			t.Fatalf("%s: %d sites", name, len(sites))
		}
		for _, o := range sites {
			if site := o.(*Site); site.TLS == nil || site.Domain != "akv.test" && site.TLS.Type != TLSSelfSigned {
				t.Errorf("%s: %s has %+v", name, site.Domain, site.TLS)
			}
		}
		if name == "lenient" && len(doc.Repairs) != 3 {
			t.Errorf("repairs: %q", doc.Repairs)
		}
	}
}

func TestLoadDocument_OneFaultyObjectStopsNoOther(t *testing.T) {
	text := `{"sites":[
		{"domain":"good.test","aliases":["www.good.test"],"tls":{"type":"acme"}},
		{"domain":"GOOD.test"},
		{"domain":"other.test","aliases":["www.good.test"]},
		{"domain":"evil.test","app":{"name":"../../../etc"}},
		{"domain":"../../etc"},
		{"domain":"typed.test","aliases":"x"},
		7, null,
		{"domain":"last.test","tls":{"type":"selfsigned"}}],
	  "secrets":{"a":"AA==","b":"%","c d":"AA=="},
	  "apps":[{"name":"x"},` + appJSONText("app") + `],
	  "dhparams":{"time":"x"}}`
	doc, err := LoadDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s := NewSnapshot(Head{}, 0).Restored(doc, 1)
	if n := s.Len(KindSite); n != 2 {
		t.Errorf("%d sites of 2", n)
	}
	if site, ok := s.Site("www.good.test"); !ok || site.Domain != "good.test" {
		t.Errorf("of two duplicates the first serves: got %v", site)
	}
	if s.Len(KindSecret) != 1 || s.Len(KindApp) != 1 || s.Len(KindDHParams) != 0 {
		t.Errorf("%d secrets, %d apps, %d dhparams", s.Len(KindSecret), s.Len(KindApp), s.Len(KindDHParams))
	}
	var names []string
	for q := range s.Quarantine() {
		names = append(names, q.Name)
		if q.Reason == "" || len(q.Raw) == 0 || strings.Contains(q.Reason, "Go ") {
			t.Errorf("%s: %q, kept %s", q.Name, q.Reason, q.Raw)
		}
	}
	want := "apps/x dhparams/dhparams secrets/b secrets/c d sites/../../etc sites/GOOD.test sites/evil.test sites/other.test sites/sites[6] sites/sites[7] sites/typed.test"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("quarantine:\n got %s\nwant %s", got, want)
	}
	if len(doc.Repairs) != len(names) {
		t.Errorf("%d repairs for %d objects: %q", len(doc.Repairs), len(names), doc.Repairs)
	}
	again, err := LoadDocument(write(t, doc, DocumentOptions{}))
	if err != nil || len(again.Repairs) > 0 {
		t.Fatalf("the second load repairs again: %v, %v", again, err)
	}
	if a, b := write(t, doc, DocumentOptions{}), write(t, again, DocumentOptions{}); !bytes.Equal(a, b) {
		t.Errorf("first:\n%s\nthen:\n%s", a, b)
	}
	// A good site takes the place of the quarantined one.
	s = with(t, s, func(d *Draft) error { return d.Put(&Site{Domain: "evil.test"}) })
	for q := range s.Quarantine() {
		if q.Object == "evil.test" {
			t.Error("the quarantined site is still listed")
		}
	}
}

func TestLoadDocument_WhatIsNoDocumentIsAnError(t *testing.T) {
	for hazard, text := range map[string]string{
		"empty": "", "truncated": `{"sites":[{"domain":"a.te`, "an array": "[]", "null": "null", "sites an object": `{"sites":{}}`,
		"secrets an array": `{"secrets":[]}`, "a member twice": `{"sites":[],"sites":[]}`, "revision is text": `{"revision":"1"}`,
	} {
		if _, err := LoadDocument([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", hazard, err)
		}
	}
	for _, text := range []string{`{}`, `{"sites":null}`, `{"secrets":null,"dhparams":null}`} {
		if _, err := LoadDocument([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestInvalidError_NamesEveryFaultUpToALimit(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"sites":[`)
	for i := range 250 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n{\"domain\":\"-%d\"}", i)
	}
	b.WriteString("]}")
	_, err := ParseDocument([]byte(b.String()))
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Faults) != 250 {
		t.Fatalf("got %v", err)
	}
	if lines := strings.Count(err.Error(), "\n"); lines != maxFaultsShown+1 || !strings.Contains(err.Error(), "150 more") {
		t.Fatalf("%d lines: %v", lines, err)
	}
	if !strings.Contains(err.Error(), `line 251, column 11: sites[249].domain`) && invalid.Faults[249].Line != 251 {
		t.Fatalf("the last fault is %v", invalid.Faults[249])
	}
}
