package storetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"statiko/state"
)

// compact removes what has no meaning from JSON.
func compact(t testing.TB, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		t.Fatalf("%s is not JSON: %v", raw, err)
	}
	return b.String()
}

// document parses a document made of objects.
func document(t testing.TB, objects ...state.Object) *state.Document {
	t.Helper()
	doc, err := state.ParseDocument(documentText(t, objects...))
	if err != nil {
		t.Fatalf("parse a document of the suite's own: %v", err)
	}
	return doc
}

func documentText(t testing.TB, objects ...state.Object) []byte {
	t.Helper()
	lists := map[state.Kind][]json.RawMessage{state.KindSite: {}}
	secrets := map[string]json.RawMessage{}
	members := map[string]any{"secrets": secrets}
	for _, o := range objects {
		raw, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		switch k := o.Key(); k.Kind {
		case state.KindSecret:
			secrets[k.Name] = raw
		case state.KindDHParams:
			members[string(k.Kind)] = json.RawMessage(raw)
		default:
			lists[k.Kind] = append(lists[k.Kind], raw)
		}
	}
	for kind, list := range lists {
		members[string(kind)] = list
	}
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// manySites returns n sites, each with an alias, whose names begin with prefix.
func manySites(prefix string, n int) []state.Object {
	sites := make([]state.Object, n)
	for i := range sites {
		domain := fmt.Sprintf("%s-%05d.test", prefix, i)
		sites[i] = site(domain, "www."+domain)
	}
	return sites
}
