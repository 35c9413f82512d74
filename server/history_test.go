package server

import (
	"os"
	"path/filepath"
	"testing"

	"statiko/api"
)

// history returns a site's versions: their names, "*" behind the current one, "!" behind those with a problem.
func (n *node) history(domain string) (names []string) {
	n.t.Helper()
	var versions []api.SiteVersion
	n.get("/site/" + domain + "/history").want(200).into(&versions)
	for _, v := range versions {
		name := v.App
		if v.Current {
			name += "*"
		}
		if v.Problem != "" {
			name += "!"
		}
		if len(v.SHA256) != 64 || v.Time == nil {
			n.t.Errorf("version %+v", v)
		}
		names = append(names, name)
	}
	return names
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%v, not %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%v, not %v", got, want)
		}
	}
}

func TestRollback(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *Options) { o.KeepVersions = 3 })
	n.site("docs.example.org", "www.docs.example.org")
	back := func(body string) *answer { return n.post("/site/www.docs.example.org/rollback", body) }
	n.get("/site/docs.example.org/history").same("[]")
	n.get("/site/none.example.org/history").fails(api.CodeNotFound)
	back(`{}`).fails(api.CodeConflict)
	n.post("/site/none.example.org/rollback", `{}`).fails(api.CodeNotFound)
	for _, name := range []string{"docs-1", "docs-2", "docs-3", "docs-4"} {
		n.app(name)
		n.post("/site/docs.example.org/app", `{"name":"`+name+`"}`).want(204)
	}
	wantNames(t, n.history("www.docs.example.org"), "docs-4*", "docs-3", "docs-2")

	site := `{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"selfsigned"},"app":{"name":"docs-`
	n.do(request{method: "POST", path: "/site/docs.example.org/rollback"}).want(200).same(site + `3"}}`)
	wantNames(t, n.history("docs.example.org"), "docs-3*", "docs-4", "docs-2")
	back(`{}`).want(200).same(site + `4"}}`)
	back(`{"app":"DOCS-2"}`).want(200).same(site + `2"}}`)
	back(`{"app":"docs-2"}`).want(200).same(site + `2"}}`) // again changes nothing
	wantNames(t, n.history("docs.example.org"), "docs-2*", "docs-4", "docs-3")
	back(`{"app":"docs-1"}`).fails(api.CodeInvalid, "app")
	back(`{"app":"none"}`).fails(api.CodeInvalid)
	back(`{"app":"../x"}`).fails(api.CodeInvalid, "app")
	back(`{"app":5}`).fails(api.CodeInvalid, "app")
	n.do(request{method: "POST", path: "/site/docs.example.org/rollback", body: `{}`, header: map[string]string{"If-Match": `"0-0"`}}).fails(api.CodePrecondition)

	// What one can go back to stays, and what one cannot goes.
	n.do(request{method: "DELETE", path: "/app/docs-3"}).fails(api.CodeInUse)
	n.do(request{method: "DELETE", path: "/app/docs-1"}).want(204)

	n.do(request{method: "DELETE", path: "/site/www.docs.example.org/app"}).want(204)
	n.get("/site/docs.example.org").same(`{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"selfsigned"},"app":null}`)
	wantNames(t, n.history("docs.example.org"), "docs-2", "docs-4", "docs-3")
	n.do(request{method: "DELETE", path: "/site/docs.example.org/app"}).want(204)
	n.do(request{method: "DELETE", path: "/site/none.example.org/app"}).fails(api.CodeNotFound)
	back(``).want(200).same(site + `2"}}`)
}

func TestDownloadApp(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	archive := string(zipped(t, map[string]string{"index.html": "hello"}))
	n.upload(part{"name", "docs-1"}, part{"type", "zip"}, part{"file", archive}).want(204)
	var apps []api.App
	n.get("/app").want(200).into(&apps)

	a := n.get("/app/Docs-1/archive").want(200)
	if string(a.body) != archive || a.header.Get("ETag") != `"`+apps[0].SHA256+`"` || a.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d bytes of %d, %v", len(a.body), len(archive), a.header)
	}
	a = n.do(request{method: "GET", path: "/app/docs-1/archive", header: map[string]string{"Range": "bytes=10-"}}).want(206)
	if string(a.body) != archive[10:] {
		t.Errorf("the rest has %d bytes of %d", len(a.body), len(archive)-10)
	}
	n.get("/app/none/archive").fails(api.CodeNotFound)
	n.get("/app/_x/archive").fails(api.CodeInvalid, "name")
	n.do(request{method: "GET", path: "/app/docs-1/archive", anonymous: true}).fails(api.CodeUnauthorized)

	n.get("/app?nodes=1").want(200).into(&apps)
	if len(apps) != 1 || len(apps[0].Nodes) != 1 || apps[0].Nodes[0] != "edge-1" || len(apps[0].Unpacked) != 1 {
		t.Errorf("on nodes: %+v", apps)
	}

	// What nobody has cannot be had.
	if err := os.RemoveAll(filepath.Join(filepath.Dir(n.path), "repo")); err != nil {
		t.Fatal(err)
	}
	n.get("/app/docs-1/archive").fails(api.CodeNotReady)
}
