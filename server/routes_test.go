package server

import (
	"strings"
	"testing"

	"statiko/api"
)

// Every route, asked by nobody in particular: who is refused, and that methods and paths that do not exist say so.
func TestRoutes_AccessAndMethods(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	for _, rt := range routes() {
		path := strings.NewReplacer("{domain}", "docs.example.org", "{name}", "x", "{token}", "t").Replace(rt.path)
		for method := range rt.methods {
			a := n.do(request{method: method, path: path, anonymous: true})
			switch {
			case rt.access == required, rt.access == nodes:
				a.fails(api.CodeUnauthorized)
				if a.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: 401 without WWW-Authenticate", a.asked)
				}
			case strings.Contains(path, "acme"):
				a.fails(api.CodeMalformed) // the test's host is an address
			default:
				a.want(200)
			}
			if a.header.Get(api.HeaderNode) != "edge-1" || a.header.Get(api.HeaderRevision) == "" {
				t.Errorf("%s: headers %v", a.asked, a.header)
			}
		}
		a := n.do(request{method: "TRACE", path: path})
		a.fails(api.CodeMethod)
		allow := a.header.Get("Allow")
		for method := range rt.methods {
			if !strings.Contains(allow, method) || method == "GET" && !strings.Contains(allow, "HEAD") {
				t.Errorf("%s: Allow is %q, and %s works", a.asked, allow, method)
			}
		}
		a = n.do(request{method: "OPTIONS", path: path, anonymous: true}).want(204)
		if a.header.Get("Allow") != allow {
			t.Errorf("%s: Allow is %q, want %q", a.asked, a.header.Get("Allow"), allow)
		}
	}
}

func TestRoutes_UnknownPathIsJSON404(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	for _, path := range []string{"/", "/nothing", "/site/a/b", "/site/a/app/b", "/statusfoo", "/status/a/b", "/debug/pprof/", "/app//x/y"} {
		a := n.do(request{method: "GET", path: path, anonymous: true})
		if a.status/100 == 3 {
			continue // a path with two slashes is sent to the clean one
		}
		a.fails(api.CodeNoRoute)
		if a.header.Get(api.HeaderNode) != "edge-1" {
			t.Errorf("%s: no %s", a.asked, api.HeaderNode)
		}
	}
}

func TestW67_HeadAndTrailingSlash(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	for _, path := range []string{"/status", "/status/", "/site", "/site/", "/site/docs.example.org/", "/info/", "/state", "/certificate/", "/app/", "/healthz/"} {
		get := n.get(path).want(200)
		head := n.do(request{method: "HEAD", path: path}).want(200)
		if len(head.body) != 0 {
			t.Errorf("HEAD %s has a body", path)
		}
		if g, h := get.header.Get("Content-Type"), head.header.Get("Content-Type"); g != h {
			t.Errorf("HEAD %s: type %q, GET has %q", path, h, g)
		}
		if g, h := get.header.Get("Content-Length"), head.header.Get("Content-Length"); g != h && path != "/status" && path != "/status/" {
			t.Errorf("HEAD %s: length %q, GET has %q", path, h, g)
		}
	}
	n.do(request{method: "POST", path: "/sync/"}).want(204)
	n.do(request{method: "HEAD", path: "/site", anonymous: true}).want(401)
}

// What the web server offers to everybody.
func TestPublicHandler_KnowsNobodyAndNothingElse(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.site("docs.example.org")
	for path, status := range map[string]int{
		"/status": 200, "/status/docs.example.org": 200, "/info": 200, "/status/": 200,
		"/healthz": 200, "/readyz": 200, "/site": 404, "/state": 404, "/drain": 404, "/clusterstatus": 404, "/app": 404, "/": 404,
	} {
		n.do(request{method: "GET", path: path, public: true}).want(status)
	}
	// The right key changes nothing there, and a wrong one is not counted.
	for range attemptBurst + 5 {
		n.do(request{method: "GET", path: "/status", public: true, header: map[string]string{"Authorization": "wrong"}}).want(200)
	}
	a := n.do(request{method: "GET", path: "/status", public: true}).want(200)
	if strings.Contains(string(a.body), "docs") {
		t.Errorf("names are shown to everybody: %s", a.body)
	}
	n.get("/site").want(200)
}

func TestPanicInHandler_IsJSONWithReference(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *Options) {
		o.Ready = func() error { panic("a secret thing: hunter2") }
	})
	a := n.get("/readyz")
	e := a.fails(api.CodeInternal)
	if strings.Contains(string(a.body), "hunter2") || !strings.Contains(e.Message, "reference") {
		t.Errorf("the answer to a panic: %s", a.body)
	}
	n.get("/healthz").want(200)
}

func TestCORS(t *testing.T) {
	t.Parallel()
	const good = "https://manage.example.org"
	n := start(t, func(o *Options) { o.CORSOrigins = []string{good} })
	ask := func(method, path, origin string, anonymous bool) *answer {
		return n.do(request{method: method, path: path, anonymous: anonymous, header: map[string]string{"Origin": origin}})
	}
	for _, origin := range []string{"https://evil.example", "null", "https://manage.example.org:8443", "http://manage.example.org", "https://manage.example.org.evil.example"} {
		a := ask("GET", "/site", origin, true)
		a.fails(api.CodeForbidden) // before authentication
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("origin %s is allowed", origin)
		}
		ask("OPTIONS", "/site", origin, true).fails(api.CodeForbidden)
		ask("GET", "/no/such/route", origin, true).fails(api.CodeForbidden)
	}
	a := ask("GET", "/site", good, false).want(200)
	if a.header.Get("Access-Control-Allow-Origin") != good || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Date") ||
		a.header.Get("Vary") != "Origin" {
		t.Errorf("headers %v", a.header)
	}
	a = ask("OPTIONS", "/site", good, true).want(204)
	if a.header.Get("Access-Control-Allow-Methods") != "GET,POST,PUT,PATCH,DELETE,HEAD" ||
		!strings.HasPrefix(a.header.Get("Access-Control-Allow-Headers"), "Origin,Content-Length,Content-Type,Authorization") ||
		a.header.Get("Access-Control-Max-Age") != "43200" || len(a.header.Values("Vary")) != 3 {
		t.Errorf("preflight: headers %v", a.header)
	}
	same := ask("GET", "/site", n.url, false).want(200)
	if same.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("same origin: headers %v", same.header)
	}

	none := start(t, nil)
	none.do(request{method: "GET", path: "/info", header: map[string]string{"Origin": "https://manage.statiko.dev"}}).fails(api.CodeForbidden)
}

func TestErrors_AreNeverCached(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	for _, path := range []string{"/state", "/nothing", "/status"} {
		if got := n.get(path).header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, got)
		}
	}
}
