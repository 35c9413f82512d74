package servertest

import (
	"slices"
	"strings"
	"testing"
)

// request is one row of the table. Unless it says otherwise it is a GET to https://a.test with the server name
// that the host says, over HTTP/1.1 and over HTTP/2, and again as a HEAD, whose header must be the same.
type request struct {
	name   string
	plain  bool   // over HTTP
	raw    bool   // over HTTP/1.1 only: nothing that a well-behaved HTTP/2 client sends
	sni    string // if it is not the host
	host   string
	method string
	path   string
	send   []string // "Name: value"
	post   string

	status  int
	or      int      // another status that is as good
	want    []string // "Name: value" that must be there, alone; "Name:" that must not; "Name: *" anything
	body    string   // the whole body, unless empty
	orBody  string   // another one that is as good
	part    string   // part of the body
	without string   // what must not be part of the body
}

const (
	css    = "body { color: black } /* and more of it */"
	cssGz  = "[the gzip form of it]"
	cssBr  = "[the brotli form]"
	etag   = `"6553f100-2a"`
	etagGz = `"6553f100-15"`
	etagBr = `"6553f100-11"`
	date   = "Tue, 14 Nov 2023 22:13:20 GMT"
	later  = "Tue, 14 Nov 2023 22:13:21 GMT"
	before = "Tue, 14 Nov 2023 22:13:19 GMT"
)

// longValue is longer than what nginx reads as one word of its configuration.
var longValue = strings.Repeat("long$value;", 700)

var large = strings.Repeat("0123456789abcdef", 20_000) // 320,000 bytes

// allRequests has the rows of m.test for l.test too, as far as its manifest says the same.
func allRequests(w *world) []request {
	rows := requests(w)
	for _, r := range rows {
		apart := strings.Contains(r.name, "rewrite") || strings.HasPrefix(r.name, "own type") || r.name == "own Location" || strings.HasPrefix(r.name, "long header")
		if r.host != "m.test" || r.raw || r.sni != "" || apart {
			continue
		}
		r.name, r.host = r.name+", light", "l.test"
		r.part = strings.ReplaceAll(r.part, "m.test", "l.test")
		rows = append(rows, r)
	}
	return rows
}

func requests(w *world) []request {
	gz, br := []string{"Accept-Encoding: gzip"}, []string{"Accept-Encoding: gzip, deflate, br, zstd"}
	accept := func(v string) []string { return []string{"Accept-Encoding: " + v} }
	return []request{
		// Files.
		{name: "root is the index", path: "/", status: 200, body: "a index",
			want: []string{"Content-Type: text/html; charset=utf-8", "ETag: \"6553f100-7\"", "Last-Modified: " + date, "Content-Length: 7", "Server:", "X-Robots-Tag:", "Vary: Accept-Encoding", "Accept-Ranges: bytes"}},
		{name: "file", path: "/style.css", status: 200, body: css,
			want: []string{"Content-Type: text/css; charset=utf-8", "ETag: " + etag, "Vary: Accept-Encoding", "Content-Encoding:", "Cache-Control:"}},
		{name: "query does not matter", path: "/style.css?v=2&x=%2F", status: 200, body: css},
		{name: "large file", path: "/big.bin", status: 200, body: large, want: []string{"Content-Type: application/octet-stream", "Content-Length: 320000"}},
		{name: "empty file", path: "/zero.txt", status: 200, want: []string{"Content-Length: 0", "Content-Type: text/plain; charset=utf-8"}},
		{name: "name with a blank", path: "/space%20name.txt", status: 200, body: "blank"},
		{name: "name with an umlaut", path: "/%C3%BC.txt", status: 200, body: "umlaut"},
		{name: "name with a percent sign is decoded once", path: "/100%2525.txt", status: 404},
		{name: "name with a percent sign", path: "/100%25.txt", status: 200, body: "percent"},
		{name: "index.htm", path: "/old/", status: 200, body: "old index"},
		{name: "index.html is a file like others", path: "/sub/index.html", status: 200, body: "sub index"},
		{name: "folder", path: "/sub/", status: 200, body: "sub index"},
		{name: "folder without slash", path: "/sub", status: 301, want: []string{"Location: /sub/"}},
		{name: "folder without slash keeps the query", path: "/sub?a=1&b=%20", status: 301, want: []string{"Location: /sub/?a=1&b=%20"}},
		{name: "folder with a blank", path: "/a%20folder", status: 301, want: []string{"Location: /a%20folder/"}},
		{name: "folder without index is not listed", path: "/empty/", status: 403, without: "note"},
		{name: "missing", path: "/nothing.html", status: 404, part: "404 Not Found", want: []string{"ETag:", "Last-Modified:"}},
		{name: "missing below a file", path: "/style.css/x", status: 404},
		{name: "file as a folder", path: "/style.css/", status: 404},
		{name: "missing folder", path: "/no/such/", status: 404},
		{name: "letter case counts", path: "/STYLE.CSS", status: 404},
		{name: "very long name", path: "/" + strings.Repeat("x", 3000), status: 404},

		// Types: weakness W44 of the earlier program.
		{name: "W44 mjs", path: "/t/x.mjs", status: 200, want: []string{"Content-Type: text/javascript; charset=utf-8"}},
		{name: "W44 wasm", path: "/t/x.wasm", status: 200, want: []string{"Content-Type: application/wasm"}},
		{name: "W44 woff2", path: "/t/x.woff2", status: 200, want: []string{"Content-Type: font/woff2"}},
		{name: "W44 webmanifest", path: "/t/x.webmanifest", status: 200, want: []string{"Content-Type: application/manifest+json"}},
		{name: "W44 avif", path: "/t/x.avif", status: 200, want: []string{"Content-Type: image/avif"}},
		{name: "W44 map", path: "/t/x.js.map", status: 200, want: []string{"Content-Type: application/json"}},
		{name: "type by capital letters", path: "/t/x.PNG", status: 200, want: []string{"Content-Type: image/png"}},
		{name: "type of no extension", path: "/t/LICENSE", status: 200, want: []string{"Content-Type: application/octet-stream"}},

		// Methods.
		{name: "POST", method: "POST", path: "/", post: "x=1", status: 405, want: []string{"Allow: GET, HEAD"}},
		{name: "DELETE", method: "DELETE", path: "/style.css", status: 405, want: []string{"Allow: GET, HEAD"}},
		{name: "OPTIONS", method: "OPTIONS", path: "/", status: 405, want: []string{"Allow: GET, HEAD"}},
		{name: "TRACE is not echoed", method: "TRACE", path: "/", send: []string{"X-Secret: s3cret"}, status: 405, without: "s3cret"},
		{name: "GET with a body", path: "/", post: "unwanted", status: 200, body: "a index"},

		// Hostile paths.
		{name: "dot segments", path: "/sub/./../style.css", status: 200, body: css},
		{name: "encoded dot segments", path: "/sub/%2e%2E/style.css", status: 200, body: css},
		{name: "above the root", path: "/../../../../etc/passwd", status: 400, or: 404, without: "root:"},
		{name: "above the root, encoded", path: "/%2e%2e/%2e%2e/etc/passwd", status: 400, or: 404, without: "root:"},
		{name: "into the other forms", path: "/../gzip/style.css", status: 400, or: 404, without: cssGz},
		{name: "encoded slashes", path: "/..%2f..%2fetc%2fpasswd", status: 404, or: 400, without: "root:"},
		{name: "encoded slash in a good path", path: "/sub%2Findex.html", status: 404, or: 400},
		{name: "backslashes", path: "/..%5c..%5cetc%5cpasswd", status: 404, or: 400, without: "root:"},
		{name: "NUL", path: "/style.css%00.png", status: 400, or: 404},
		{name: "line break", path: "/sub%0d%0aX-Injected:%20yes", status: 400, or: 404, want: []string{"X-Injected:"}},
		{name: "invalid UTF-8", path: "/%ff%fe", status: 404, or: 400},
		{name: "double decoding", path: "/%252e%252e/etc/passwd", status: 404},
		{name: "repeated slashes", path: "//sub///index.html", status: 200, body: "sub index"},
		{name: "repeated slashes do not lead away", path: "//evil.test/..//sub", status: 301, want: []string{"Location: /sub/"}},
		{name: "no slash at all", raw: true, path: "style.css", status: 400},
		{name: "absolute form", raw: true, path: "https://a.test/style.css", status: 200, body: css},
		{name: "absolute form without path", raw: true, path: "https://a.test", status: 200, body: "a index"},
		{name: "absolute form wins over Host", raw: true, path: "https://m.test/plain.txt", sni: "a.test", host: "a.test", status: 200, body: "m plain"},
		{name: "no Host", raw: true, host: "\r\nX-None: 1", path: "/", sni: "a.test", status: 400, or: 421},

		// Files that are not for others: weakness W67b of the earlier program.
		{name: "W67b .git", path: "/.git/config", status: 404, without: "secret"},
		{name: "W67b .git by dot segments", path: "/sub/../.git/config", status: 404, without: "secret"},
		{name: "W67b dot file below", path: "/sub/.env", status: 404, without: "secret"},
		{name: "W67b .well-known is served", path: "/.well-known/security.txt", status: 200, body: "contact"},
		{name: "W67b .well-known only at the root", path: "/sub/.well-known/x.txt", status: 404},
		{name: "W67b dot file in .well-known", path: "/.well-known/.hidden", status: 404},
		{name: "the manifest", host: "m.test", path: "/_statiko.yaml", status: 404, body: "custom 404"},
		{name: "the manifest's name below the root", host: "m.test", path: "/below/_statiko.yaml", status: 200, body: "just a file"},

		// Encodings.
		{name: "brotli before gzip", path: "/style.css", send: br, status: 200, body: cssBr, want: []string{"Content-Encoding: br", "ETag: " + etagBr, "Vary: Accept-Encoding", "Content-Length: 17", "Content-Type: text/css; charset=utf-8"}},
		{name: "gzip", path: "/style.css", send: gz, status: 200, body: cssGz, want: []string{"Content-Encoding: gzip", "ETag: " + etagGz, "Vary: Accept-Encoding"}},
		{name: "gzip weighs more", path: "/style.css", send: accept("br;q=0.5, gzip;q=0.9"), status: 200, body: cssGz},
		{name: "brotli forbidden", path: "/style.css", send: accept("br;q=0, gzip"), status: 200, body: cssGz},
		{name: "identity weighs more", path: "/style.css", send: accept("gzip;q=0.5, identity"), status: 200, body: css},
		{name: "star", path: "/style.css", send: accept("*"), status: 200, body: cssBr},
		{name: "star forbidden", path: "/style.css", send: accept("*;q=0"), status: 200, body: css},
		{name: "all but gzip", path: "/style.css", send: accept("gzip;q=0, *;q=0.1"), status: 200, body: cssBr},
		{name: "malformed weight", path: "/style.css", send: accept("br;q=x, gzip;q=2"), status: 200, body: css},
		{name: "nothing accepted", path: "/style.css", send: accept(""), status: 200, body: css},
		{name: "two headers", path: "/style.css", send: []string{"Accept-Encoding: deflate", "Accept-Encoding: gzip"}, status: 200, body: cssGz, orBody: css},
		{name: "only gzip exists", path: "/only.js", send: br, status: 200, body: "gz of only", want: []string{"Content-Encoding: gzip", "Vary: Accept-Encoding"}},
		{name: "no other form", path: "/big.bin", send: br, status: 200, body: large, want: []string{"Content-Encoding:", "Vary:"}},

		// Conditions and ranges.
		{name: "If-None-Match", path: "/style.css", send: []string{"If-None-Match: " + etag}, status: 304, want: []string{"ETag: " + etag, "Vary: Accept-Encoding", "Content-Length:", "Content-Type:"}},
		{name: "If-None-Match, weak and in a list", path: "/style.css", send: []string{`If-None-Match: "x,y", W/` + etag}, status: 304},
		{name: "If-None-Match *", path: "/style.css", send: []string{"If-None-Match: *"}, status: 304},
		{name: "If-None-Match of another version", path: "/style.css", send: []string{`If-None-Match: "6553f0ff-2a"`}, status: 200, body: css},
		{name: "If-None-Match of another form", path: "/style.css", send: append([]string{"If-None-Match: " + etag}, gz...), status: 200, body: cssGz},
		{name: "If-None-Match of this form", path: "/style.css", send: append([]string{"If-None-Match: " + etagGz}, gz...), status: 304, want: []string{"ETag: " + etagGz}},
		{name: "If-None-Match wins over the date", path: "/style.css", send: []string{`If-None-Match: "x"`, "If-Modified-Since: " + later}, status: 200},
		{name: "If-None-Match malformed", path: "/style.css", send: []string{"If-None-Match: " + strings.Trim(etag, `"`)}, status: 200},
		{name: "If-None-Match on a missing file", path: "/nothing.html", send: []string{"If-None-Match: *"}, status: 404},
		{name: "If-Modified-Since", path: "/style.css", send: []string{"If-Modified-Since: " + date}, status: 304},
		{name: "If-Modified-Since before", path: "/style.css", send: []string{"If-Modified-Since: " + before}, status: 200},
		{name: "If-Modified-Since malformed", path: "/style.css", send: []string{"If-Modified-Since: yesterday"}, status: 200},
		{name: "If-Match", path: "/style.css", send: []string{"If-Match: " + etag}, status: 200, body: css},
		{name: "If-Match of another version", path: "/style.css", send: []string{`If-Match: "x"`}, status: 412, want: []string{"ETag:"}},
		{name: "If-Match is strong", path: "/style.css", send: []string{"If-Match: W/" + etag}, status: 412},
		{name: "If-Unmodified-Since", path: "/style.css", send: []string{"If-Unmodified-Since: " + date}, status: 200},
		{name: "If-Unmodified-Since before", path: "/style.css", send: []string{"If-Unmodified-Since: " + before}, status: 412},
		{name: "range", path: "/big.bin", send: []string{"Range: bytes=16-19"}, status: 206, body: "0123", want: []string{"Content-Range: bytes 16-19/320000", "Content-Length: 4", "ETag: \"6553f100-4e200\""}},
		{name: "range of a small file", path: "/style.css", send: []string{"Range: bytes=-4"}, status: 206, body: "t */", want: []string{"Content-Range: bytes 38-41/42"}},
		{name: "range of the identity form", path: "/style.css", send: append([]string{"Range: bytes=0-3"}, br...), status: 206, body: "body", want: []string{"Content-Encoding:", "ETag: " + etag, "Vary: Accept-Encoding"}},
		{name: "open range", path: "/big.bin", send: []string{"Range: bytes=319996-"}, status: 206, body: "cdef"},
		{name: "two ranges", path: "/big.bin", send: []string{"Range: bytes=0-3,10-11"}, status: 206, part: "\r\n\r\n0123\r\n"},
		{name: "range behind the end", path: "/big.bin", send: []string{"Range: bytes=320000-"}, status: 416, want: []string{"Content-Range: bytes */320000"}},
		{name: "malformed range", path: "/style.css", send: []string{"Range: lines=1-2"}, status: 416, or: 200},
		{name: "If-Range", path: "/big.bin", send: []string{"Range: bytes=0-3", `If-Range: "6553f100-4e200"`}, status: 206, body: "0123"},
		{name: "If-Range of another version", path: "/big.bin", send: []string{"Range: bytes=0-3", `If-Range: "x"`}, status: 200, body: large},
		{name: "If-Range by date", path: "/big.bin", send: []string{"Range: bytes=0-3", "If-Range: " + date}, status: 206},
		{name: "range of an unchanged file", path: "/big.bin", send: []string{"Range: bytes=0-3", `If-None-Match: "6553f100-4e200"`}, status: 304},

		// Hosts.
		{name: "HTTP to HTTPS", plain: true, path: "/sub/x?a=b%20c", status: 301, want: []string{"Location: https://a.test:8443/sub/x?a=b%20c"}},
		{name: "path as sent", plain: true, path: "/a%2Fb//c/../d?q=%zz", raw: true, status: 301, want: []string{"Location: https://a.test:8443/a%2Fb//c/../d?q=%zz"}},
		{name: "HTTP alias", plain: true, host: "www.a.test", path: "/x", status: 301, want: []string{"Location: https://a.test:8443/x"}},
		{name: "HTTPS alias", host: "www.a.test", path: "/x?y", status: 301, want: []string{"Location: https://a.test:8443/x?y"}},
		{name: "port, capitals and final dot", host: "A.Test.:8080", sni: "a.test", path: "/", status: 200, body: "a index"},
		{name: "the same over HTTP", plain: true, host: "WWW.A.TEST.:8080", path: "/", status: 301, want: []string{"Location: https://a.test:8443/"}},
		{name: "Host decides, not the server name", host: "m.test", sni: "a.test", path: "/plain.txt", status: 200, body: "m plain"},
		{name: "unknown host behind a site's server name", host: "unknown.test", sni: "a.test", path: "/", status: 421, or: 404},
		{name: "unknown host", host: "unknown.test", path: "/", status: 404, part: "No site by this name"},
		{name: "unknown host, any path", host: "unknown.test", path: "/x/y.html", status: 404, part: "No site by this name"},
		{name: "unknown host over HTTP", plain: true, host: "unknown.test", path: "/", status: 404, part: "No site by this name"},
		{name: "unknown host is not echoed", plain: true, raw: true, host: "e<x>cho.test", path: "/", status: 404, or: 400, without: "e<x>cho"},
		{name: "style of the unknown host", host: "unknown.test", path: "/style.css", status: 200, want: []string{"Content-Type: text/css; charset=utf-8"}},
		{name: "IPv4 host", plain: true, host: "127.0.0.1:8080", path: "/", status: 404},
		{name: "IPv6 host", plain: true, host: "[::1]:8080", path: "/", status: 404},
		{name: "IPv6 host without port", host: "[::1]", sni: "", path: "/", status: 404},

		// The node's paths.
		{name: "status", plain: true, host: "127.0.0.1", path: "/status", status: 200, body: "node 127.0.0.1 /status"},
		{name: "status of a site", plain: true, host: "lb.test", path: "/status/a.test", status: 200, body: "node lb.test /status/a.test"},
		{name: "info over HTTPS", host: "unknown.test", path: "/info", status: 200, body: "node unknown.test /info"},
		{name: "readiness", plain: true, host: "127.0.0.1", path: "/readyz", status: 200, body: "node 127.0.0.1 /readyz"},
		{name: "liveness over HTTPS", host: "unknown.test", path: "/healthz", status: 200, body: "node unknown.test /healthz"},
		{name: "readiness is the site's own path", path: "/readyz", status: 404},
		{name: "statusfoo is not status", plain: true, host: "lb.test", path: "/statusfoo", status: 404},
		{name: "infos is not info", plain: true, host: "lb.test", path: "/infos", status: 404},
		{name: "status is the site's own path", path: "/status", status: 404},
		{name: "status and then elsewhere", plain: true, host: "lb.test", path: "/status/../config", status: 404, without: "node"},
		{name: "not by dot segments", plain: true, host: "lb.test", path: "/x/../status", status: 404},
		{name: "challenge on a site", path: "/.well-known/acme-challenge/tok", status: 200, body: "node a.test /.well-known/acme-challenge/tok"},
		{name: "challenge on a site over HTTP", plain: true, path: "/.well-known/acme-challenge/tok", status: 200, body: "node a.test /.well-known/acme-challenge/tok"},
		{name: "challenge on an alias", plain: true, host: "www.a.test", path: "/.well-known/acme-challenge/tok", status: 200},
		{name: "challenge is not shadowed by a rule", host: "m.test", path: "/.well-known/acme-challenge/tok.secret", status: 200},
		{name: "challenge without a token", path: "/.well-known/acme-challenge/", status: 404},
		{name: "challenge and then elsewhere", plain: true, host: "lb.test", path: "/.well-known/acme-challenge/../../status", status: 404, without: "node"},
		{name: "challenge by prefix only", path: "/.well-known/acme-challengex", status: 404},

		// Sites without a bundle, temporary sites.
		{name: "placeholder", host: "e.test", path: "/", status: 200, part: "<title>Statiko</title>", want: []string{"Content-Type: text/html; charset=utf-8", "X-Robots-Tag:"}},
		{name: "placeholder's style", host: "e.test", path: "/style.css", status: 200, part: "prefers-color-scheme"},
		{name: "placeholder's robots.txt", host: "e.test", path: "/robots.txt", status: 200, body: "User-agent: *\nDisallow: /\n"},
		{name: "placeholder, other paths", host: "e.test", path: "/x", status: 404},
		{name: "temporary", host: "t.test", path: "/", status: 200, body: "temporary", want: []string{"X-Robots-Tag: noindex"}},
		{name: "temporary, missing", host: "t.test", path: "/x", status: 404, want: []string{"X-Robots-Tag: noindex"}},

		// Manifests.
		{name: "rule for /", host: "m.test", path: "/plain.txt", status: 200, body: "m plain", want: []string{"X-Frame-Options: DENY", "Strict-Transport-Security: max-age=63072000", "Cache-Control:"}},
		{name: "one rule, nothing inherited", host: "m.test", path: "/pic.png", status: 200, want: []string{"X-Frame-Options:", "Cache-Control: max-age=2419200, public", "Pragma: public", "Expires: *"}},
		{name: "caching with two units", host: "m.test", path: "/assets/x.txt", status: 200, want: []string{"Cache-Control: max-age=129600, public"}},
		{name: "prefix before file", host: "m.test", path: "/assets/pic.png", status: 200, want: []string{"Cache-Control: max-age=129600, public"}},
		{name: "W68 first match in the order written", host: "m.test", path: "/zz/first.dat", status: 200, want: []string{"X-Order: first"}},
		{name: "caching of a 304", host: "m.test", path: "/pic.png", send: []string{`If-None-Match: "6553f100-3"`}, status: 304, want: []string{"Cache-Control: max-age=2419200, public", "Expires: *"}},
		{name: "caching of a part", host: "m.test", path: "/pic.png", send: []string{"Range: bytes=0-0"}, status: 206, want: []string{"Cache-Control: max-age=2419200, public"}},
		{name: "unsatisfiable range of a file with a rule", host: "m.test", path: "/pic.png", send: []string{"Range: bytes=9-"}, status: 416, want: []string{"Content-Range: bytes */3"}},
		{name: "no caching of a missing file", host: "m.test", path: "/nothing.png", status: 404, body: "custom 404", want: []string{"Cache-Control:", "Pragma:", "Expires:", "ETag:"}},
		{name: "own type", host: "m.test", path: "/typed.bin", status: 200, want: []string{"Content-Type: application/x-own", "Cache-Control: no-store", "X-Quoted: a \"b\" \\ $c"}},
		{name: "own type of a part", host: "m.test", path: "/typed.bin", send: []string{"Range: bytes=0-1"}, status: 206, want: []string{"Content-Type: application/x-own"}},
		{name: "own type of two parts", host: "m.test", path: "/typed.bin", send: []string{"Range: bytes=0-0,2-2"}, status: 206, part: "Content-Type: application/x-own"},
		{name: "own encoding", host: "m.test", path: "/enc.svgz", send: br, status: 200, body: "zipped", want: []string{"Content-Encoding: gzip", "Content-Type: image/svg+xml"}},
		{name: "own Vary keeps ours", host: "m.test", path: "/vary.css", send: gz, status: 200, body: "gz of vary", want: []string{"Vary: Accept-Encoding, X-Theme"}},
		{name: "headers of a rule on the folder's redirect", host: "m.test", path: "/assets", status: 301, want: []string{"Location: /assets/", "X-Frame-Options: DENY"}},
		{name: "deny", host: "m.test", path: "/internal.json", status: 404, body: "custom 404"},
		{name: "deny by pattern", host: "m.test", path: "/deep/Config.SECRET", status: 404, body: "custom 404"},
		{name: "deny is not evaded by dots", host: "m.test", path: "/x/..//internal.json", status: 404, body: "custom 404"},
		{name: "deny is not evaded by encoding", host: "m.test", path: "/%69nternal.json", status: 404, body: "custom 404"},
		{name: "custom 404 has its type", host: "m.test", path: "/no", status: 404, body: "custom 404", want: []string{"Content-Type: text/html; charset=utf-8", "X-Frame-Options:", "Content-Length: 10"}},
		{name: "custom 404 is not a range", host: "m.test", path: "/no", send: []string{"Range: bytes=0-1"}, status: 404, body: "custom 404"},
		{name: "custom 404 by itself is a page", host: "m.test", path: "/errors/404.html", status: 200, body: "custom 404"},
		{name: "custom 403", host: "m.test", path: "/noindex/", status: 403, body: "custom 403"},
		{name: "rewrite", host: "m.test", path: "/blog/one", status: 200, body: "post one"},
		{name: "rewrite then rule", host: "m.test", path: "/show/pic", status: 200, want: []string{"Cache-Control: max-age=2419200, public"}},
		{name: "rewrite to nothing", host: "m.test", path: "/blog/two", status: 404, body: "custom 404"},
		{name: "rewrite does not reach hidden files", host: "m.test", path: "/any/.git/config", status: 404, body: "custom 404"},
		{name: "rewrite does not reach the manifest", host: "m.test", path: "/any/_statiko.yaml", status: 404, body: "custom 404"},
		{name: "rewrite does not leave the root", host: "m.test", path: "/blog/..%2f..%2fx", status: 404, or: 400},

		{name: "rewrite is resolved", host: "m.test", path: "/slashes/plain.txt", status: 200, body: "m plain"},
		{name: "rewrite does not evade deny", host: "m.test", path: "/slashes/internal.json", status: 404, body: "custom 404"},
		{name: "rewrite with dots is resolved", host: "m.test", path: "/dots/plain.txt", status: 200, body: "m plain"},
		{name: "rewrite of letters beyond ASCII", host: "m.test", path: "/cyr/%D0%BF%D0%BE%D0%BA%D0%B0", status: 200, body: "m plain"},
		{name: "rewrite of other letters", host: "m.test", path: "/cyr/%D0%BF%D0%BE%D0%BA%D0%B1", status: 404},
		{name: "caseSensitive", host: "m.test", path: "/Case", status: 404, body: "custom 404"},
		{name: "caseSensitive, other case", host: "m.test", path: "/case", status: 200, body: "small"},
		{name: "group of fonts, capital letters", host: "m.test", path: "/f.WOFF", status: 200, want: []string{"X-Group: media", "X-Frame-Options:"}},
		{name: "group of videos", host: "m.test", path: "/v.mp4", status: 200, want: []string{"X-Group: media", "Content-Type: video/mp4"}},
		{name: "long header, and an empty one", host: "m.test", path: "/l.woff2x", status: 200, want: []string{"X-Long: " + longValue, "X-Empty:"}},
		{name: "own Location", host: "m.test", path: "/located", status: 200, want: []string{"Location: https://else.test/{a};"}},
		{name: "custom 404 compressed", host: "m.test", path: "/no", send: gz, status: 404, body: "gz of 404", want: []string{"Content-Encoding: gzip", "Vary: Accept-Encoding", "ETag:"}},
		{name: "custom 404 for a POST", host: "m.test", method: "POST", path: "/internal.json", post: "x", status: 404, body: "custom 404"},
		{name: "405 says what is allowed", host: "m.test", method: "PUT", path: "/plain.txt", post: "x", status: 405, want: []string{"Allow: GET, HEAD", "X-Frame-Options:"}},
		{name: "temporary with a manifest", host: "tm.test", path: "/", status: 200, want: []string{"X-Robots-Tag: noindex", "X-A: b"}},
		{name: "temporary, missing, with a page that is missing", host: "tm.test", path: "/x", status: 404, part: "404 Not Found", want: []string{"X-Robots-Tag: noindex", "X-A:"}},
		{name: "temporary with a rule of its own", host: "tm.test", path: "/own", status: 200, want: []string{"X-Robots-Tag: all"}},
		{name: "very long header", host: "m.test", path: "/plain.txt", send: []string{"X-Long: " + longValue}, status: 200, body: "m plain"},

		// Proxied paths.
		{name: "proxy with a path", host: "m.test", path: "/api/v1/x?y=%2F", status: 200, part: "GET /base/v1/x?y=%2F host=" + w.backend + " for=127.0.0.1 proto=https xhost=m.test", want: []string{"X-Backend: yes", "X-Ours: 1", "Server:"}},
		{name: "proxy without a path", host: "m.test", path: "/raw/x%20y", status: 200, part: "GET /raw/x%20y host="},
		{name: "proxy passes what the rules saw", host: "m.test", path: "/raw/../raw//b", status: 200, part: "GET /raw/b host="},
		{name: "proxy, every method", host: "m.test", method: "PUT", path: "/api/put", post: "the body", status: 200, part: "PUT /base/put host=" + w.backend, want: []string{"X-Ours: 1"}},
		{name: "proxy replaces forwarding headers", host: "m.test", path: "/api/x", send: []string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.test"}, status: 200, part: "for=127.0.0.1 proto=https xhost=m.test", without: "6.6.6.6"},
		{name: "proxy, error of the backend", host: "m.test", path: "/api/missing", status: 404, part: "the backend's own 404", want: []string{"X-Ours:"}},
		{name: "proxy after rewrite", host: "m.test", path: "/moved/x?b=2", status: 200, part: "GET /base/x?from=moved&b=2 host="},
		{name: "proxy to what is not allowed", host: "m.test", path: "/evil/x", status: 502},
	}
}

func testRequests(t *testing.T, w *world) {
	w.apply(t, fixtureSites(t, w)...)
	client := w.client2(t)
	for _, r := range allRequests(w) {
		t.Run(r.name, func(t *testing.T) {
			q := question{plain: r.plain, host: r.host, method: r.method, path: r.path, header: r.send, body: r.post, sni: r.sni}
			if q.host == "" {
				q.host = "a.test"
			}
			if q.sni == "" && !strings.HasPrefix(q.host, "[") {
				q.sni = q.host
			}
			if q.method == "" {
				q.method = "GET"
			}
			first, err := w.ask(q)
			if err != nil {
				t.Fatalf("HTTP/1.1: %v", err)
			}
			r.check(t, w.Product, "HTTP/1.1", first)
			if q.method == "GET" && q.body == "" {
				q.method = "HEAD"
				head, err := w.ask(q)
				if err != nil {
					t.Fatalf("HEAD: %v", err)
				}
				compareHead(t, first, head)
				q.method = "GET"
			}
			if r.plain || r.raw || r.sni != "" {
				return
			}
			second, err := w.ask2(client, q)
			if err != nil {
				t.Fatalf("HTTP/2: %v", err)
			}
			r.check(t, w.Product, "HTTP/2", second)
		})
	}
}

func (r *request) check(t *testing.T, product, over string, a *answer) {
	t.Helper()
	if a.status != r.status && (r.or == 0 || a.status != r.or) {
		t.Errorf("%s: status %d, want %d", over, a.status, r.status)
	}
	for _, line := range r.want {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if name == "Server" && value == "" {
			value = product
		}
		got := strings.Join(a.header.Values(name), ", ")
		switch {
		case value == "" && got != "":
			t.Errorf("%s: header %s: %q, want none", over, name, got)
		case value == "*" && got == "", value != "*" && got != value:
			t.Errorf("%s: header %s: %q, want %q", over, name, got, value)
		}
	}
	if r.body != "" && a.body != r.body && (r.orBody == "" || a.body != r.orBody) {
		t.Errorf("%s: body %.200q, want %.200q", over, a.body, r.body)
	}
	if r.part != "" && !strings.Contains(a.body, r.part) {
		t.Errorf("%s: body %.600q, want %q in it", over, a.body, r.part)
	}
	if r.without != "" && strings.Contains(a.body, r.without) {
		t.Errorf("%s: body has %q in it: %.200q", over, r.without, a.body)
	}
}

// compareHead checks that HEAD is GET without a body (RFC 9110, 9.3.2).
func compareHead(t *testing.T, get, head *answer) {
	t.Helper()
	if head.status != get.status || head.body != "" {
		t.Errorf("HEAD: %d with %d bytes, GET: %d", head.status, len(head.body), get.status)
	}
	for name, values := range get.header {
		switch name {
		case "Date", "Expires": // a second may have passed
		case "Content-Length": // a backend's own answers may leave it out or differ
			if len(head.header[name]) > 0 && get.header.Get("X-Backend") == "" && !slices.Equal(values, head.header[name]) {
				t.Errorf("HEAD: %s: %q, GET: %q", name, head.header[name], values)
			}
		case "Content-Type":
			if strings.HasPrefix(values[0], "multipart/") {
				continue // with a random boundary
			}
			fallthrough
		default:
			if !slices.Equal(values, head.header[name]) {
				t.Errorf("HEAD: %s: %q, GET: %q", name, head.header[name], values)
			}
		}
	}
}
