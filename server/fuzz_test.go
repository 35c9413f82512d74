package server

import (
	"strings"
	"testing"

	"statiko/api"
)

// No body may bring the server to an internal error, or have it store what its own rules refuse.
func FuzzSiteBodies(f *testing.F) {
	for _, body := range []string{
		`{"domain":"a.example.org","aliases":["b.example.org"],"tls":{"type":"imported","cert":"x"},"app":{"name":"y"}}`,
		`{"aliases":null,"tls":null}`, `{"temporary":true}`, `{"tls":{"type":"acme","cert":1}}`, `[]`, `{"aliases":[null]}`,
		"{\"domain\":\"\\ud800\"}", `{"Domain":"x","domain":"y"}`,
	} {
		f.Add(body)
	}
	n := start(f, nil)
	n.site("fixed.example.org")
	f.Fuzz(func(t *testing.T, body string) {
		n := n.in(t)
		for _, q := range []request{
			{method: "POST", path: "/site", body: body},
			{method: "PATCH", path: "/site/fixed.example.org", body: body},
			{method: "POST", path: "/state?dryRun=1", body: body},
		} {
			a := n.do(q)
			if a.status >= 500 {
				t.Fatalf("%s with %q: %d %s", a.asked, body, a.status, a.body)
			}
			if q.method == "POST" && q.path == "/site" && a.status == 200 {
				var site api.Site
				a.into(&site)
				if site.Domain != strings.ToLower(site.Domain) {
					t.Fatalf("stored %+v", site)
				}
				n.do(request{method: "DELETE", path: "/site/" + site.Domain}).want(204)
			}
		}
	})
}
