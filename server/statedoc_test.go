package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"statiko/api"
	"statiko/secret"
)

func TestState_RoundTrip(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.certificate("wild")
	n.post("/site", `{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"imported","cert":"wild"}}`).want(200)
	n.site("plain.example.org")
	backup := n.get("/state").want(200)
	if got := backup.header.Get("Content-Length"); got == "" {
		t.Error("no Content-Length")
	}
	if tag := backup.header.Get("ETag"); tag == "" {
		t.Error("no ETag")
	}
	n.do(request{method: "DELETE", path: "/site/docs.example.org"}).want(204)
	n.do(request{method: "DELETE", path: "/certificate/wild"}).want(204)
	n.site("later.example.org")

	var dry api.StateDryRun
	n.post("/state?dryRun=1", backup.body).want(200).into(&dry)
	if got := dry.Added["sites"]; len(got) != 1 || got[0] != "docs.example.org" {
		t.Errorf("dry run: %+v", dry)
	}
	if got := dry.Removed["sites"]; len(got) != 1 || got[0] != "later.example.org" || len(dry.Changed) != 0 || len(dry.Added["secrets"]) != 1 {
		t.Errorf("dry run: %+v", dry)
	}
	n.get("/site/docs.example.org").fails(api.CodeNotFound)

	n.post("/state", backup.body).want(204)
	if again := n.get("/state").want(200); !bytes.Equal(again.body, backup.body) {
		t.Errorf("restored:\n%s\nwant\n%s", again.body, backup.body)
	}
	n.do(request{method: "PUT", path: "/state", body: `{"sites":[]}`}).want(204)
	n.get("/site").same("[]")
	n.get("/certificate").same("[]")
}

func TestState_ChunkedBodyOfUnknownLength(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.do(request{method: "POST", path: "/state", body: io.MultiReader(strings.NewReader(`{"sites":[{"domain":"a.example.org",`),
		strings.NewReader(`"aliases":null,"tls":{"type":"selfsigned"},"app":null}]}`))}).want(204)
	n.get("/site/a.example.org").want(200)
}

func TestW9_IncompleteDocumentsChangeNothing(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.certificate("wild")
	n.post("/site", `{"domain":"docs.example.org","tls":{"type":"imported","cert":"wild"}}`).want(200)
	before := n.get("/state").body
	foreign, err := secret.NewKeyring(keyB)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := foreign.Seal([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString(sealed)
	site := `{"domain":"docs.example.org","aliases":null,"tls":{"type":"imported","cert":"wild"},"app":null}`
	for why, test := range map[string]struct {
		body, code string
		fields     []string
	}{
		"empty":           {``, api.CodeMalformed, nil},
		"cut off":         {string(before[:len(before)/2]), api.CodeMalformed, []string{""}},
		"no sites":        {`{}`, api.CodeInvalid, []string{"sites"}},
		"sites null":      {`{"sites":null}`, api.CodeInvalid, []string{"sites"}},
		"no certificate":  {`{"sites":[` + site + `]}`, api.CodeInvalid, []string{"sites[0].tls.cert"}},
		"duplicate":       {`{"sites":[{"domain":"a.example.org"},{"domain":"b.example.org","aliases":["A.example.org"]}]}`, api.CodeInvalid, []string{"sites[1].aliases[0]"}},
		"another key":     {`{"sites":[],"keyId":"` + foreign.ID() + `"}`, api.CodeForeignKey, []string{"keyId"}},
		"foreign secrets": {`{"sites":[],"secrets":{"cert/imported/a":"` + b64 + `","cert/imported/b":"AA=="}}`, api.CodeInvalid, []string{`secrets["cert/imported/a"]`, `secrets["cert/imported/b"]`}},
		"unknown member":  {`{"sites":[],"sights":[]}`, api.CodeInvalid, []string{"sights"}},
	} {
		t.Run(why, func(t *testing.T) {
			for _, query := range []string{"", "?dryRun=1"} {
				a := n.in(t).post("/state"+query, test.body)
				a.fails(test.code, test.fields...)
			}
		})
	}
	if after := n.get("/state").body; !bytes.Equal(before, after) {
		t.Errorf("the state changed:\n%s", after)
	}
	n.post("/state", strings.Repeat(" ", 1<<20)+`{"sites":[]}`).fails(api.CodeTooLarge)
	n.do(request{method: "POST", path: "/state", body: `{"sites":[]}`, contentType: "application/x-www-form-urlencoded"}).fails(api.CodeMediaType)
}

func TestState_IfMatch(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("a.example.org")
	tag := n.get("/state").header.Get("ETag")
	set := func(tag string) *answer {
		return n.do(request{method: "POST", path: "/state", body: `{"sites":[]}`, header: map[string]string{"If-Match": tag}})
	}
	n.site("b.example.org")
	set(tag).fails(api.CodePrecondition)
	a := set(n.get("/state").header.Get("ETag")).want(204)
	if got := n.get("/state").header.Get("ETag"); got != a.header.Get("ETag") {
		t.Errorf("ETag %s, at the restore %s", got, a.header.Get("ETag"))
	}
	n.get("/site").same("[]")
}

// A document of another node is restored with that node's key, which the node neither keeps nor logs.
func TestState_SourceKeySealsADocumentAnew(t *testing.T) {
	t.Parallel()
	source := start(t, nil)
	source.certificate("wild")
	var document map[string]any
	source.get("/state").into(&document)
	for _, keyID := range []bool{true, false} {
		if !keyID {
			delete(document, "keyId") // as the earlier program writes it
		}
		core, logs := observer.New(zap.DebugLevel)
		n := startWith(t, func(o *Options) { o.Log = zap.New(core) }, keyB)
		set := func(query, key string) *answer {
			return n.do(request{method: "POST", path: "/state" + query, body: document, header: map[string]string{api.HeaderSourceKey: key}})
		}
		for _, key := range []string{"", keyB} {
			if a := set("", key); keyID {
				a.fails(api.CodeForeignKey, "keyId")
			} else {
				a.fails(api.CodeInvalid, `secrets["cert/imported/wild"]`)
			}
		}
		if e := set("", keyA+"!").fails(api.CodeInvalid, api.HeaderSourceKey); strings.Contains(fmt.Sprint(e), keyA) {
			t.Errorf("the answer shows the key: %v", e)
		}
		n.get("/certificate").same("[]")
		set("?dryRun=1", keyA).want(200)
		n.get("/certificate").same("[]")
		set("", keyA).want(204)
		sealed, ok := n.store.Snapshot().Secret("cert/imported/wild")
		if !ok {
			t.Fatal("the secret was not restored")
		}
		if _, id, err := n.keyring.OpenID(sealed.Sealed); err != nil || id != n.keyring.ID() {
			t.Errorf("the secret is sealed with %q (%v), want %s", id, err, n.keyring.ID())
		}
		var restored struct{ KeyID string }
		if err := json.Unmarshal(n.get("/state").body, &restored); err != nil || restored.KeyID != n.keyring.ID() {
			t.Errorf("the document names the key %q, want %s", restored.KeyID, n.keyring.ID())
		}
		if text := fmt.Sprint(logs.All()); strings.Contains(text, keyA) || len(logs.All()) == 0 {
			t.Errorf("the log: %s", text)
		}
	}
}

// What an old key sealed is sealed with the current one, so that the old one can be thrown away.
func TestState_SecretsOfAnOldKeyAreSealedAgain(t *testing.T) {
	t.Parallel()
	old := start(t, nil)
	old.certificate("wild")
	var document map[string]any
	old.get("/state").into(&document)
	for _, keyID := range []bool{true, false} {
		if !keyID {
			delete(document, "keyId") // as the earlier program writes it
		}
		n := startWith(t, nil, keyB, keyA)
		both := n.keyring
		n.post("/state", document).want(204)
		sealed, ok := n.store.Snapshot().Secret("cert/imported/wild")
		if !ok {
			t.Fatal("the secret was not restored")
		}
		if _, id, err := both.OpenID(sealed.Sealed); err != nil || id != both.ID() {
			t.Errorf("the secret is sealed with %s (%v), want %s", id, err, both.ID())
		}
		var restored struct{ KeyID string }
		if err := json.Unmarshal(n.get("/state").body, &restored); err != nil || restored.KeyID != both.ID() {
			t.Errorf("the document names the key %q, want %s", restored.KeyID, both.ID())
		}
	}
}

// During a rolling upgrade a newer node stores objects with members that this version does not know: changing such an
// object here loses none of them.
func TestState_UnknownMembersSurviveChanges(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.app("docs-1")
	var document map[string]any
	n.get("/state").into(&document)
	apps := document["apps"].([]any)
	apps[0].(map[string]any)["later"] = map[string]any{"of": "bundle"}
	document["sites"] = []any{map[string]any{"domain": "a.example.org", "later": map[string]any{"of": "site"}}}
	n.post("/state", document).want(204)
	n.do(request{method: "PATCH", path: "/site/a.example.org", body: `{"aliases":["www.a.example.org"]}`}).want(200)
	n.post("/site/a.example.org/app", `{"name":"docs-1"}`).want(204)
	n.post("/app/docs-1", `{"signature":"`+base64.StdEncoding.EncodeToString(make([]byte, 512))+`"}`).want(204)
	got := string(n.get("/state").body)
	for _, want := range []string{`"of": "site"`, `"of": "bundle"`, `"www.a.example.org"`, `"name": "docs-1"`} {
		if !strings.Contains(got, want) && !strings.Contains(got, strings.ReplaceAll(want, ": ", ":")) {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
}
