package server

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"statiko/api"
	"statiko/state"
)

func TestCreateSite_Shapes(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.certificate("wildcard-2020")
	n.app("docs-41")
	for _, test := range []struct{ body, want string }{
		{`{"domain":"a.example.org"}`,
			`{"domain":"a.example.org","aliases":null,"tls":{"type":"selfsigned"},"app":null}`},
		{`{"domain":"B.Example.ORG.","aliases":["WWW.b.example.org"],"tls":{"type":"imported","cert":"Wildcard-2020","ver":""},"app":null}`,
			`{"domain":"b.example.org","aliases":["www.b.example.org"],"tls":{"type":"imported","cert":"wildcard-2020"},"app":null}`},
		{`{"Domain":"c.example.org","ALIASES":[],"tls":{"type":"acme","cert":"x","ver":"y"},"nonsense":{"a":[1]},"app":{"name":"DOCS-41"}}`,
			`{"domain":"c.example.org","aliases":[],"tls":{"type":"acme"},"app":{"name":"docs-41"}}`},
		{`{"domain":"d.example.org","tls":{"type":""}}`,
			`{"domain":"d.example.org","aliases":null,"tls":{"type":"selfsigned"},"app":null}`},
		{`{"domain":"e.example.org","tls":{"type":"akv","cert":"Main","ver":"1"}}`,
			`{"domain":"e.example.org","aliases":null,"tls":{"type":"akv","cert":"Main","ver":"1"},"app":null}`},
		{`{"domain":"bücher.example"}`,
			`{"domain":"xn--bcher-kva.example","aliases":null,"tls":{"type":"selfsigned"},"app":null}`},
	} {
		a := n.post("/site", test.body).want(200).same(test.want)
		if a.header.Get("ETag") == "" || a.header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("headers %v", a.header)
		}
		var site api.Site
		a.into(&site)
		got := n.get("/site/" + site.Domain).want(200).same(test.want)
		if got.header.Get("ETag") != a.header.Get("ETag") {
			t.Errorf("ETag %s, at creation %s", got.header.Get("ETag"), a.header.Get("ETag"))
		}
	}
	n.get("/site/WWW.B.example.org").want(200)
	var list []api.Site
	n.get("/site").want(200).into(&list)
	if len(list) != 6 || !slices.IsSortedFunc(list, func(a, b api.Site) int { return strings.Compare(a.Domain, b.Domain) }) {
		t.Errorf("list: %+v", list)
	}
}

func TestCreateSite_EveryFaultAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("taken.example.org", "alias.example.org")
	long := make([]string, state.MaxNames)
	for i := range long {
		long[i] = fmt.Sprintf("a%d.example.net", i)
	}
	for name, test := range map[string]struct {
		body   any
		code   string
		fields []string
	}{
		"empty body":      {"", api.CodeMalformed, nil},
		"null":            {"null", api.CodeMalformed, nil},
		"array":           {"[]", api.CodeMalformed, nil},
		"text":            {`"x"`, api.CodeMalformed, nil},
		"not JSON":        {"{\n \"domain\": x}", api.CodeMalformed, []string{""}},
		"two values":      {`{"domain":"a.example.org"} {}`, api.CodeMalformed, []string{""}},
		"garbage behind":  {`{"domain":"a.example.org"}]`, api.CodeMalformed, []string{""}},
		"cut off":         {`{"domain":"a.exa`, api.CodeMalformed, []string{""}},
		"no domain":       {`{}`, api.CodeInvalid, []string{"domain"}},
		"wrong type":      {`{"domain":5}`, api.CodeInvalid, []string{"domain"}},
		"wrong type deep": {`{"domain":"a.example.org","tls":{"type":[]}}`, api.CodeInvalid, []string{"tls.type"}},
		"default":         {`{"domain":"_default","aliases":["_default"]}`, api.CodeInvalid, []string{"domain", "aliases[0]"}},
		"three faults": {`{"domain":"../../etc","aliases":["ok.example.org","no good","ok.example.org"],"tls":{"type":"magic"},"app":{"name":"../x"}}`,
			api.CodeInvalid, []string{"domain", "aliases[1]", "aliases[2]", "tls.type", "app.name"}},
		"alias is domain": {`{"domain":"a.example.org","aliases":["A.example.org"]}`, api.CodeInvalid, []string{"aliases[0]"}},
		"app no name":     {`{"domain":"a.example.org","app":{}}`, api.CodeInvalid, []string{"app.name"}},
		"imported nameless": {`{"domain":"a.example.org","tls":{"type":"imported"}}`, api.CodeInvalid,
			[]string{"tls.cert"}},
		"both missing": {`{"domain":"a.example.org","tls":{"type":"imported","cert":"nope"},"app":{"name":"nope"}}`,
			api.CodeInvalid, []string{"tls.cert", "app.name"}},
		"taken":          {`{"domain":"taken.example.org"}`, api.CodeExists, []string{"domain"}},
		"taken by alias": {`{"domain":"ALIAS.example.org"}`, api.CodeExists, []string{"domain"}},
		"taken aliases": {`{"domain":"a.example.org","aliases":["taken.example.org","b.example.org","alias.example.org"]}`,
			api.CodeExists, []string{"aliases[0]", "aliases[2]"}},
		"too many names":          {api.SiteCreate{Domain: "a.example.org", Aliases: long}, api.CodeInvalid, []string{"aliases"}},
		"temporary with names":    {`{"temporary":true,"domain":"a.example.org","aliases":["b.example.org"],"tls":{"type":"acme"}}`, api.CodeInvalid, []string{"domain", "aliases", "tls.type"}},
		"address":                 {`{"domain":"192.0.2.1"}`, api.CodeInvalid, []string{"domain"}},
		"wildcard":                {`{"domain":"*.example.org"}`, api.CodeInvalid, []string{"domain"}},
		"temporary wrong type":    {`{"temporary":"yes"}`, api.CodeInvalid, []string{"temporary"}},
		"larger than the limit":   {`{"domain":"` + strings.Repeat("a", maxBody) + `"}`, api.CodeTooLarge, nil},
		"NUL and control bytes":   {"{\"domain\":\"a\\u0000b.example.org\"}", api.CodeInvalid, []string{"domain"}},
		"deep nesting":            {strings.Repeat(`{"a":`, 20_000), api.CodeMalformed, nil},
		"certificate of a path":   {`{"domain":"a.example.org","tls":{"type":"imported","cert":"../selfsigned/x"}}`, api.CodeInvalid, []string{"tls.cert"}},
		"W47 app is a path":       {`{"domain":"a.example.org","app":{"name":"../../../etc"}}`, api.CodeInvalid, []string{"app.name"}},
		"keyvault without name":   {`{"domain":"a.example.org","tls":{"type":"akv"}}`, api.CodeInvalid, []string{"tls.cert"}},
		"app is text, not object": {`{"domain":"a.example.org","app":"docs"}`, api.CodeInvalid, []string{"app"}},
	} {
		before := n.store.Snapshot().Revision()
		t.Run(name, func(t *testing.T) {
			a := n.in(t).post("/site", test.body)
			a.fails(test.code, test.fields...)
		})
		if n.store.Snapshot().Revision() != before {
			t.Errorf("%s: something was stored", name)
		}
	}
}

func TestBodies_ContentTypes(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.app("docs-1")
	const body = `{"domain":"a.example.org"}`
	for _, contentType := range []string{"text/plain", "application/x-yaml", "application/xml", "application/x-www-form-urlencoded",
		"multipart/form-data; boundary=x", "-", "nonsense;;", "application/jsonx"} {
		n.do(request{method: "POST", path: "/site", body: body, contentType: contentType}).fails(api.CodeMediaType)
	}
	n.do(request{method: "POST", path: "/site", contentType: "-"}).fails(api.CodeMalformed)
	n.do(request{method: "POST", path: "/site", body: body, contentType: "Application/JSON; charset=utf-8"}).want(200)
	n.do(request{method: "POST", path: "/sync", contentType: "-"}).want(204)
	n.do(request{method: "POST", path: "/sync", body: "anything", contentType: "text/plain"}).want(204)
	n.do(request{method: "POST", path: "/app/docs-1", body: "signature=&hash=", contentType: "application/x-www-form-urlencoded"}).want(204)
	n.do(request{method: "POST", path: "/app/docs-1", body: "a=%zz", contentType: "application/x-www-form-urlencoded"}).fails(api.CodeMalformed)
	multi, contentType := form(t, part{"signature", ""}, part{"hash", ""})
	n.do(request{method: "POST", path: "/app/docs-1", body: multi, contentType: contentType}).want(204)
	n.do(request{method: "POST", path: "/app/docs-1", body: multi, contentType: "multipart/form-data"}).fails(api.CodeMalformed)
}

func TestTemporarySites(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	shape := regexp.MustCompile(`^[a-z]+-[a-z]+-[a-z]+-[1-9][0-9][0-9]\.preview\.example\.org$`)
	seen := map[string]bool{}
	for range 20 {
		var site api.Site
		n.post("/site", `{"temporary":true}`).want(200).into(&site)
		if !site.Temporary || !shape.MatchString(site.Domain) || seen[site.Domain] {
			t.Errorf("site %+v", site)
		}
		seen[site.Domain] = true
	}
	for domain := range seen {
		label := strings.TrimSuffix(domain, ".preview.example.org")
		n.get("/site/" + label).fails(api.CodeNotFound)
		n.get("/site/" + label + "?temporary=yes").want(200)
		n.get("/site/" + label + "?temporary=YES").fails(api.CodeNotFound)
		patch := func(body string) *answer {
			return n.do(request{method: "PATCH", path: "/site/" + label + "?temporary=1", body: body})
		}
		patch(`{"aliases":["a.example.org"],"tls":{"type":"acme"}}`).fails(api.CodeInvalid, "tls.type", "aliases")
		patch(`{"aliases":null}`).fails(api.CodeInvalid, "aliases")
		patch(`{"tls":{"type":"selfsigned"}}`).want(200)
		n.do(request{method: "DELETE", path: "/site/" + label + "?temporary=t"}).want(204)
	}
	none := start(t, func(o *Options) { o.TemporaryDomain = "" })
	none.post("/site", `{"temporary":true}`).fails(api.CodeInvalid, "temporary")
	none.get("/site/x?temporary=1").fails(api.CodeInvalid, "temporary")
}

func TestTemporaryNames_CollisionIsTriedAgain(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	site := &state.Site{Domain: "taken.example.org"}
	n.site(site.Domain)
	if _, err := n.store.Update(t.Context(), func(d *state.Draft) error { return freeNames(d, site, "") }); !isTaken(err) {
		t.Errorf("a taken name is reported as %v, which is not tried again", err)
	}
}

func TestWords_ArePlainAndMany(t *testing.T) {
	t.Parallel()
	plain := regexp.MustCompile(`^[a-z]{2,13}$`)
	for name, words := range map[string][]string{"adverbs": adverbs, "adjectives": adjectives, "nouns": nouns} {
		if len(words) < 190 {
			t.Errorf("%d %s", len(words), name)
		}
		seen := map[string]bool{}
		for _, w := range words {
			if !plain.MatchString(w) || seen[w] {
				t.Errorf("%s: %q is not plain, or stands twice", name, w)
			}
			seen[w] = true
		}
	}
}

func TestPatchSite(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.certificate("wild")
	n.site("docs.example.org", "www.docs.example.org")
	n.site("other.example.org", "alias.other.example.org")
	patch := func(body string) *answer {
		return n.do(request{method: "PATCH", path: "/site/www.docs.example.org", body: body})
	}
	for _, test := range []struct{ body, want string }{
		{`{}`, `{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"selfsigned"},"app":null}`},
		{`{"tls":null,"domain":"evil.example.org","app":{"name":"x"},"temporary":true}`,
			`{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"selfsigned"},"app":null}`},
		{`{"TLS":{"Type":"imported","Cert":"WILD","ver":"9"}}`,
			`{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"imported","cert":"wild"},"app":null}`},
		{`{"aliases":["WWW.docs.example.org","new.example.net"]}`,
			`{"domain":"docs.example.org","aliases":["www.docs.example.org","new.example.net"],"tls":{"type":"imported","cert":"wild"},"app":null}`},
		{`{"tls":{"type":"acme"}}`,
			`{"domain":"docs.example.org","aliases":["www.docs.example.org","new.example.net"],"tls":{"type":"acme"},"app":null}`},
	} {
		patch(test.body).want(200).same(test.want)
		n.get("/site/docs.example.org").want(200).same(test.want)
	}
	for body, fields := range map[string][]string{
		`{"tls":"acme"}`:                                {"tls"},
		`{"tls":{}}`:                                    {"tls.type"},
		`{"tls":{"type":7}}`:                            {"tls.type"},
		`{"tls":{"type":"x"}}`:                          {"tls.type"},
		`{"tls":{"type":"imported"}}`:                   {"tls.cert"},
		`{"tls":{"type":"imported","cert":"none"}}`:     {"tls.cert"},
		`{"aliases":"a"}`:                               {"aliases"},
		`{"aliases":{}}`:                                {"aliases"},
		`{"aliases":["a.example.org",1,null]}`:          {"aliases[1]", "aliases[2]"},
		`{"aliases":["_default"]}`:                      {"aliases[0]"},
		`{"aliases":["docs.example.org"]}`:              {"aliases[0]"},
		`{"aliases":["a.example.org","A.example.org"]}`: {"aliases[1]"},
	} {
		patch(body).fails(api.CodeInvalid, fields...)
	}
	patch(`[]`).fails(api.CodeMalformed)
	patch(``).fails(api.CodeMalformed)
	n.do(request{method: "PATCH", path: "/site/none.example.org", body: `{}`}).fails(api.CodeNotFound)
	patch(`{"aliases":["ok.example.org","other.example.org","alias.other.example.org"]}`).fails(api.CodeExists, "aliases[1]", "aliases[2]")
	n.get("/site/new.example.net").want(200)
}

func TestW11_AliasesAreClearedAndStaySo(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"aliases":null}`, `{"aliases":[]}`, `{"Aliases":[]}`} {
		n := start(t, nil)
		n.site("docs.example.org", "www.docs.example.org")
		answer := n.do(request{method: "PATCH", path: "/site/docs.example.org", body: body}).want(200)
		n.get("/site/docs.example.org").want(200).same(strings.TrimSpace(string(answer.body)))
		n.get("/site/www.docs.example.org").fails(api.CodeNotFound)
		n.site("www.docs.example.org") // the name is free
	}
}

func TestDeleteSite(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org", "www.docs.example.org")
	n.do(request{method: "DELETE", path: "/site/WWW.docs.example.org"}).want(204)
	n.do(request{method: "DELETE", path: "/site/docs.example.org"}).fails(api.CodeNotFound)
	n.do(request{method: "DELETE", path: "/site/..%2f..%2fetc"}).fails(api.CodeNotFound)
	n.get("/site").want(200).same("[]")
}

func TestDeleteSite_GetsRidOfQuarantined(t *testing.T) {
	t.Parallel()
	n := &node{t: t, keys: []string{keyA}}
	dir := t.TempDir()
	n.path = dir + "/state.json"
	if err := os.WriteFile(n.path, []byte(`{"sites":[{"domain":"a.example.org","aliases":null,"tls":null,"app":null},
		{"domain":"A.example.org","aliases":null,"tls":null,"app":null},
		{"domain":"../../etc","aliases":null,"tls":null,"app":null}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	n.web.Running = true
	n.open(dir, nil)
	quarantine := func() int {
		var s api.Status
		n.get("/status").into(&s)
		return len(s.Quarantine)
	}
	if quarantine() != 2 {
		t.Fatalf("%d objects in quarantine, want 2", quarantine())
	}
	if a := n.do(request{method: "GET", path: "/status", anonymous: true}); strings.Contains(string(a.body), "quarantine") {
		t.Errorf("everybody sees the quarantine: %s", a.body)
	}
	n.do(request{method: "DELETE", path: "/site/..%2F..%2Fetc"}).want(204)
	if quarantine() != 1 {
		t.Errorf("%d objects in quarantine, want 1", quarantine())
	}
	n.do(request{method: "DELETE", path: "/site/A.example.org"}).want(204)
	if quarantine() != 0 {
		t.Errorf("%d objects in quarantine, want none", quarantine())
	}
	n.get("/site").want(200).same("[]")
}

func TestIfMatch_LostUpdatesAreRefused(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	n.app("docs-1")
	tag := n.get("/site/docs.example.org").header.Get("ETag")
	patch := func(match, body string) *answer {
		return n.do(request{method: "PATCH", path: "/site/docs.example.org", body: body, header: map[string]string{"If-Match": match}})
	}
	a := patch(tag, `{"aliases":["a.example.org"]}`).want(200)
	newer := a.header.Get("ETag")
	if newer == tag || newer == "" {
		t.Errorf("ETag %s after %s", newer, tag)
	}
	for _, match := range []string{tag, `W/` + newer, `"x"`, "nonsense"} {
		patch(match, `{"aliases":[]}`).fails(api.CodePrecondition)
		n.do(request{method: "DELETE", path: "/site/docs.example.org", header: map[string]string{"If-Match": match}}).fails(api.CodePrecondition)
		n.do(request{method: "POST", path: "/site/docs.example.org/app", body: `{"name":"docs-1"}`, header: map[string]string{"If-Match": match}}).fails(api.CodePrecondition)
	}
	if same := patch(`"other", `+newer, `{}`).want(200).header.Get("ETag"); same != newer {
		t.Errorf("nothing changed, yet the ETag is %s, not %s", same, newer)
	}
	deployed := n.do(request{method: "POST", path: "/site/docs.example.org/app", body: `{"name":"docs-1"}`, header: map[string]string{"If-Match": newer}}).want(204)
	if got := n.get("/site/docs.example.org").header.Get("ETag"); got != deployed.header.Get("ETag") {
		t.Errorf("ETag %s, at deploy %s", got, deployed.header.Get("ETag"))
	}
	n.do(request{method: "DELETE", path: "/site/docs.example.org", header: map[string]string{"If-Match": "*"}}).want(204)
	patch("*", `{}`).fails(api.CodeNotFound)
}

func TestEightWriters_NothingIsLostAndNamesAreUnique(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	const writers, each = 8, 25
	var mu sync.Mutex
	won := map[string]int{}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				n.post("/site", api.SiteCreate{Domain: fmt.Sprintf("w%d-%d.example.org", w, i)}).want(200)
				shared := fmt.Sprintf("shared-%d.example.org", i)
				body := api.SiteCreate{Domain: shared}
				if w%2 == 1 {
					body = api.SiteCreate{Domain: fmt.Sprintf("owner%d-%d.example.org", w, i), Aliases: []string{shared}}
				}
				if a := n.post("/site", body); a.status == 200 {
					mu.Lock()
					won[shared]++
					mu.Unlock()
				} else {
					a.fails(api.CodeExists)
				}
			}
		})
	}
	all.Wait()
	for i := range each {
		if got := won[fmt.Sprintf("shared-%d.example.org", i)]; got != 1 {
			t.Errorf("shared-%d belongs to %d sites", i, got)
		}
	}
	var list []api.Site
	n.get("/site").into(&list)
	if want := writers*each + each; len(list) != want {
		t.Errorf("%d sites, want %d", len(list), want)
	}
}

func isTaken(err error) bool { return errors.Is(err, errNameTaken) }
