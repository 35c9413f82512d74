package servertest

import (
	"fmt"
	"strings"
	"testing"

	"statiko/webserver"
)

// manifest is that of m.test.
func manifest(w *world) string {
	return fmt.Sprintf(`
page403: errors/403.html
page404: /errors/404.html
# full
rewrite:
  "^/blog/(.*)$": "/posts/$1.html"
  "^/show/(.*)$": "/$1.png"
  "^/any/(.*)$": "/$1"
  "^/moved/(.*)$": "/api/$1?from=moved"
  "^/slashes(.*)$": "/$1"
  "^/dots/(.*)$": "/x/../$1"
  "^/cyr/(привет|пока)$": "/plain.txt"
# end
rules:
  - prefix: "/"
    options: {headers: {"X-Frame-Options": "DENY", "Strict-Transport-Security": "max-age=63072000"}}
  - match: "^/zz/"
    options: {headers: {"X-Order": "first"}}
  - match: "^/.*first"
    options: {headers: {"X-Order": "second"}}
  - file: _images
    options: {clientCaching: 4w}
  - prefix: /assets/
    options: {clientCaching: 1d 12h}
  - exact: /internal.json
    options: {deny: true}
  - match: "^/Case$"
    caseSensitive: true
    options: {deny: true}
  - file: "_fonts, _videos"
    options: {headers: {X-Group: media}}
# full
  - file: woff2x
    options: {headers: {X-Empty: "", X-Long: "%[2]s"}}
  - exact: /located
    options: {headers: {Location: "https://else.test/{a};"}}
# end
  - match: '\.secret$'
    options: {deny: true}
# full
  - exact: /typed.bin
    options: {clientCaching: 1h, headers: {"Content-Type": "application/x-own", "Cache-Control": "no-store", "X-Quoted": 'a "b" \ $c'}}
# end
  - exact: /enc.svgz
    options: {headers: {"Content-Encoding": "gzip"}}
  - exact: /vary.css
    options: {headers: {"Vary": "X-Theme"}}
  - prefix: /api/
    options: {proxy: "http://%[1]s/base/", headers: {"X-Ours": "1"}}
  - prefix: /raw/
    options: {proxy: "http://%[1]s"}
  - prefix: /evil/
    options: {proxy: "http://127.0.0.2:1/"}
`, w.backend, longValue)
}

// lightManifest is that of l.test: the same without what a server may have to treat apart.
func lightManifest(w *world) string {
	var b strings.Builder
	full := false
	for line := range strings.Lines(manifest(w)) {
		switch strings.TrimSpace(line) {
		case "# full":
			full = true
		case "# end":
			full = false
		default:
			if !full {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// fixtureSites are the sites that the table asks.
func fixtureSites(t *testing.T, w *world) []*webserver.Site {
	a := deploy(t, newSite(t, "a.test", "www.a.test"), map[string]string{
		"index.html": "a index", "style.css": css, "gzip:style.css": cssGz, "br:style.css": cssBr,
		"only.js": "only", "gzip:only.js": "gz of only", "big.bin": large, "zero.txt": "",
		"space name.txt": "blank", "ü.txt": "umlaut", "100%.txt": "percent", "old/index.htm": "old index",
		"sub/index.html": "sub index", "a folder/index.html": "x", "empty/note.txt": "note",
		"t/x.mjs": "x", "t/x.wasm": "x", "t/x.woff2": "x", "t/x.webmanifest": "x", "t/x.avif": "x", "t/x.js.map": "x",
		"t/x.PNG": "x", "t/LICENSE": "x",
		".git/config": "secret", "sub/.env": "secret", ".well-known/security.txt": "contact",
		"sub/.well-known/x.txt": "x", ".well-known/.hidden": "x",
	})
	files := map[string]string{
		"_statiko.yaml": manifest(w), "plain.txt": "m plain", "pic.png": "pic", "assets/x.txt": "x",
		"assets/pic.png": "pic", "assets/index.html": "x", "zz/first.dat": "x", "typed.bin": "typed",
		"enc.svgz": "zipped", "br:enc.svgz": "wrong", "vary.css": "vary", "gzip:vary.css": "gz of vary",
		"internal.json": "{}", "deep/Config.SECRET": "x", "errors/403.html": "custom 403", "errors/404.html": "custom 404",
		"noindex/x": "x", "Case": "x", "case": "small", "f.WOFF": "x", "v.mp4": "x", "l.woff2x": "x", "located": "x",
		"gzip:errors/404.html": "gz of 404", "posts/one.html": "post one", "below/_statiko.yaml": "just a file", ".git/config": "secret",
	}
	m := deploy(t, newSite(t, "m.test"), files)
	files["_statiko.yaml"] = lightManifest(w)
	l := deploy(t, newSite(t, "l.test"), files)
	temporary := deploy(t, newSite(t, "t.test"), map[string]string{"index.html": "temporary"})
	temporary.Temporary = true
	ruled := deploy(t, newSite(t, "tm.test"), map[string]string{"index.html": "x", "own": "x",
		"_statiko.yaml": "page404: 404.html\nrules: [{exact: /own, options: {headers: {X-Robots-Tag: all}}}, {prefix: /, options: {headers: {X-A: b}}}]"})
	ruled.Temporary = true
	return []*webserver.Site{a, m, l, temporary, ruled, newSite(t, "e.test")}
}
