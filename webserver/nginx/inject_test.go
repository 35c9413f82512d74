package nginx

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"statiko/bundle"
	"statiko/webserver"
)

// directive is one of a configuration, with its words unquoted.
type directive struct {
	words []string
	block []directive
}

// lex reads a configuration as nginx does: words, quotes in which a backslash stands before a quote or a backslash, and
// comments. It is an error if anything is left open.
func lex(text string) ([]directive, error) {
	type frame struct{ done []directive }
	stack := []frame{{}}
	var heads [][]string
	var words []string
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == ';':
			if len(words) == 0 {
				return nil, fmt.Errorf("nothing before the semicolon at %d", i)
			}
			top := &stack[len(stack)-1]
			top.done = append(top.done, directive{words: words})
			words = nil
			i++
		case c == '{':
			heads = append(heads, words)
			words = nil
			stack = append(stack, frame{})
			i++
		case c == '}':
			if len(stack) == 1 || len(words) > 0 {
				return nil, fmt.Errorf("unexpected brace at %d, after %q", i, words)
			}
			done := stack[len(stack)-1].done
			stack = stack[:len(stack)-1]
			top := &stack[len(stack)-1]
			top.done = append(top.done, directive{words: heads[len(heads)-1], block: done})
			heads = heads[:len(heads)-1]
			i++
		case c == '"' || c == '\'':
			var b strings.Builder
			for i++; ; i++ {
				if i >= len(text) {
					return nil, fmt.Errorf("a quote is open")
				}
				if text[i] == c {
					i++
					break
				}
				if text[i] == '\\' && i+1 < len(text) && strings.IndexByte(`"'\`, text[i+1]) >= 0 {
					i++
				}
				b.WriteByte(text[i])
			}
			if i < len(text) && !strings.ContainsRune(" \t\r\n;{)", rune(text[i])) {
				return nil, fmt.Errorf("%q behind a quote", text[i])
			}
			words = append(words, b.String())
		default:
			start := i
			for i < len(text) && !strings.ContainsRune(" \t\r\n;", rune(text[i])) && (text[i] != '{' || text[i-1] == '$') {
				i++
			}
			words = append(words, text[start:i])
		}
	}
	if len(stack) != 1 || len(words) > 0 {
		return nil, fmt.Errorf("%d blocks are open, and %q", len(stack)-1, words)
	}
	return stack[0].done, nil
}

// only are all directives that a class may have, with what their words must be if nothing of a manifest belongs there.
func only() map[string]string {
	return map[string]string{
		"set": `^\$statiko_pin \$statiko_pinned$`, "if": `^\((\$statiko_gate|\$statiko_unclean|-d .*)\)?`, "rewrite": "", "break": "^$",
		"error_page": `^\d{3} //(error|page403|page404)$`, "location": `^(= //(error|node|page403|page404)|/|= /[^\n]*|\^~ /[^\n]*|~ \(\*LIMIT_MATCH=200000\)[^\n]*|@miss\d+)$`,
		"internal": "^$", "types": "^$", "default_type": "", "add_header": "", "expires": `^\d+s$`, "etag": "^off$",
		"return": `^(200 \$statiko_page|404|403)$`, "root": `^\$statiko_root$`, "try_files": "", "proxy_pass": `^http://statiko_node\$request_uri$`,
		"if_modified_since": "^off$", "max_ranges": "^0$",
		"map": `^\$sent_http_location \$statiko_l[0-9a-f]{24}$`, "geo": `^\$statiko_t[0-9a-f]{24}$`, "default": "", "": "",
	}
}

// outsiders are variables in words of a manifest that nobody but we may name.
var variableForm = regexp.MustCompile(`\$(\{[^}]*\}|\w+)`)

func checkDirectives(all []directive, allowed map[string]string) error {
	for _, d := range all {
		name, rest := d.words[0], strings.Join(d.words[1:], " ")
		form, ok := allowed[name]
		switch {
		case !ok:
			return fmt.Errorf("a directive %q: %q", name, d.words)
		case form != "" && !regexp.MustCompile(form).MatchString(rest):
			return fmt.Errorf("%s %q", name, d.words[1:])
		}
		switch name {
		case "rewrite", "try_files", "add_header", "default_type", "default", "":
			for _, v := range variableForm.FindAllString(rest, -1) {
				known := strings.HasPrefix(strings.Trim(v, "${}"), "statiko_") || v == "$uri" || name == "rewrite" && len(v) >= 2 && v[1] >= '1' && v[1] <= '9'
				if !known && name != "rewrite" {
					return fmt.Errorf("%s has the variable %s: %q", name, v, rest)
				}
			}
		}
		if err := checkDirectives(d.block, allowed); err != nil {
			return err
		}
	}
	return nil
}

func seeds() []string {
	return []string{
		"", "page404: 404.html\npage403: 'a \"b\" $c {d};'\n",
		"rules: [{exact: '/a\"; } location / { root /etc; } #', options: {deny: true}}]",
		"rules: [{prefix: '/a$host${uri}\\', options: {headers: {X-A: 'v\"; add_header X-B c; #', x-b: '$host\\'}}}]",
		"rules: [{match: '\";}{', options: {clientCaching: 1d}}, {match: '\\Qa;b\"\\E', caseSensitive: true}, {match: '(?P<n>[^\\n]+)(?i:é)'}]",
		"rewrite: {'^/a(.*)\";$': '/b$1\"; return 200 x; #', '^/(x)(y)$': '/$2{$1}?a=$1', '^/z': '//z/../z', '^/q': '/q?'}",
		"rules: [{file: '_images,css', options: {headers: {Content-Type: 'a; b\"', Location: '/x$uri', Vary: X, Content-Encoding: gzip, X-Robots-Tag: all}}}]",
		"rules: [{prefix: /, options: {headers: {X-Long: '" + strings.Repeat(`"\$`, 2500) + "'}}}]",
		"rules: [{match: '" + strings.Repeat("[^a-z]", 600) + "'}, {match: '\\pL+'}]",
		"rules: [{prefix: /p/, options: {proxy: 'http://a\";b.test/'}}]",
		"page404: '" + strings.Repeat("x", 4000) + "'",
		"rules: [{exact: '/" + strings.Repeat("\"", 3000) + "'}]",
	}
}

// Weakness W48: manifests could write any directive. Whatever a manifest that validates says, the words of the template
// are all that stands in its block.
func FuzzW48_ManifestsCannotBreakOut(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	r, err := newRenderer()
	if err != nil {
		f.Fatal(err)
	}
	allowed := only()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := bundle.ParseManifest("m", data)
		if err != nil {
			return
		}
		for _, temporary := range []bool{false, true} {
			c, err := r.newClass(&webserver.Site{Domain: "a.test", Root: "/x", Manifest: m, Temporary: temporary})
			if err != nil {
				continue // refused, with a reason
			}
			for _, line := range strings.Split(c.before+c.body, "\n") {
				if len(line) > 6*maxToken {
					t.Fatalf("a line of %d bytes", len(line))
				}
			}
			all, err := lex(c.before + c.body)
			if err == nil {
				err = checkDirectives(all, allowed)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, c.before+c.body)
			}
			if err := checkLight(c); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// checkLight checks the lines of a class in the maps of the shared block: a pattern for this class or a key of it, and
// one value.
func checkLight(c *class) error {
	if c.light == nil {
		return nil
	}
	lines, err := lex(c.light.rules)
	if err != nil {
		return fmt.Errorf("%w in %s", err, c.light.rules)
	}
	keys := regexp.MustCompile("^(node|deny|" + c.id + `\.\d+)$`)
	for _, d := range lines {
		if len(d.words) != 2 || d.block != nil || !strings.HasPrefix(d.words[0], "~"+matchLimit+"^"+c.id+":") || !keys.MatchString(d.words[1]) {
			return fmt.Errorf("a rule %q", d.words)
		}
	}
	for name, text := range c.light.values {
		lines, err := lex(text)
		if err != nil {
			return fmt.Errorf("%w in %s", err, text)
		}
		for _, d := range lines {
			if len(d.words) != 2 || d.block != nil || !keys.MatchString(d.words[0]) {
				return fmt.Errorf("a value of %s: %q", name, d.words)
			}
		}
		if strings.HasPrefix(name, ":") {
			if all, err := lex("add_header \"" + strings.SplitN(name, ":", 3)[2] + "\" x;"); err != nil || len(all) != 1 || len(all[0].words) != 3 {
				return fmt.Errorf("a header %q: %v", name, err)
			}
		}
	}
	for _, page := range []string{c.light.page403, c.light.page404} {
		if all, err := lex(page + ";"); page != "" && (err != nil || len(all) != 1 || len(all[0].words) != 1) {
			return fmt.Errorf("a page %q: %v", page, err)
		}
	}
	return nil
}

// Manifests without rewrites and odd patterns are in the shared block, up to a number of header names; others have their
// own, and a site may go from one to the other.
func TestLight_MostManifestsShareABlock(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	site := stage(t, newSite(t, "a.test"), map[string]string{"index.html": "page", "x.png": "pic"})
	for i, row := range []struct {
		text  string
		light bool
	}{
		{"rules: [{prefix: /, options: {headers: {X-A: b}}}, {file: _images, options: {clientCaching: 1d}}]", true},
		{"rules: [{match: '^/a.*b$', options: {deny: true}}, {match: '\\.secret$', options: {deny: true}}]", true},
		{"rules: [{match: 'a.*b', options: {deny: true}}]", false},
		{"rules: [{match: '^/(a+)+$', options: {deny: true}}]", false},
		{"rewrite: {'^/a$': /b}\nrules: [{prefix: /, options: {headers: {X-A: b}}}]", false},
		{"rules: [{prefix: /, options: {headers: {Content-Type: a/b}}}]", false},
		{"page404: 404.html", true},
	} {
		m := parse(t, row.text)
		apply(t, s, withManifest(site, m))
		if got := s.model.classes[s.model.sites["a.test"].class.id].light; got != row.light {
			t.Errorf("row %d: light %v", i, got)
		}
		wantBody(t, s, "a.test", "/", "page")
	}
	var sites []*webserver.Site
	for i := range maxHeaderNames + 5 {
		m := parse(t, fmt.Sprintf("rules: [{prefix: /, options: {headers: {X-Name-%d: v}}}]", i))
		next := withManifest(page(t, fmt.Sprintf("h%d.test", i), "page"), m)
		sites = append(sites, next)
	}
	apply(t, s, sites...)
	light := 0
	for _, site := range sites {
		if s.model.classes[s.model.sites[site.Domain].class.id].light {
			light++
		}
		wantBody(t, s, site.Domain, "/", "page")
	}
	if light != maxHeaderNames {
		t.Errorf("%d of the sites are in the shared block, want %d", light, maxHeaderNames)
	}
	// All go, and nothing is left of them.
	var changes []webserver.Change
	for domain := range s.model.sites {
		changes = append(changes, webserver.Change{Domain: domain})
	}
	if failed, err := s.Apply(t.Context(), changes); err != nil || len(failed) > 0 {
		t.Fatal(err, failed)
	}
	for _, l := range s.model.lists() {
		if l.n != 0 {
			t.Errorf("%s still has %d lines", l.name, l.n)
		}
	}
	if len(s.model.classes)+len(s.model.users)+len(s.model.shared.maps) != 0 {
		t.Errorf("left: %d classes, %d pairs, %d maps", len(s.model.classes), len(s.model.users), len(s.model.shared.maps))
	}
}

// nginx itself takes all that validates, or it is one of the few things that are refused with a reason.
func TestW48_NginxTakesWhatValidates(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	var sites []*webserver.Site
	for i, text := range seeds() {
		m, err := bundle.ParseManifest("m", []byte(text))
		if err != nil {
			continue
		}
		sites = append(sites, withManifest(page(t, fmt.Sprintf("s%d.test", i), "page"), m))
	}
	if len(sites) < 8 {
		t.Fatalf("only %d of the manifests validate", len(sites))
	}
	failed, err := tryApply(t, s, sites...)
	if err != nil {
		t.Fatal(err)
	}
	for domain, reason := range failed {
		t.Logf("%s: %v", domain, reason)
		if !strings.Contains(reason.Error(), errTooLong.Error()) {
			t.Errorf("%s is refused: %v", domain, reason)
		}
	}
	for _, site := range sites {
		if failed[site.Domain] == nil {
			if status, _, err := get(s, site.Domain, "/nothing"); err != nil || status >= 500 {
				t.Errorf("%s: %d %v", site.Domain, status, err)
			}
		}
	}
	// Names that are no names are refused before anything is written.
	for _, name := range []string{"x; return 200 \"y\"", "a b", "${host}", "*.test", "~x", "-x", ".x", "x/y", "x\ny"} {
		bad := page(t, "ok.test", "page")
		bad.Aliases = []string{name}
		if failed, err := tryApply(t, s, bad); err != nil || failed["ok.test"] == nil {
			t.Errorf("alias %q: %v %v", name, failed, err)
		}
	}
}

// Patterns match on nginx what they match in Go, characters beyond ASCII and odd flags among them.
func TestPatterns_MatchAsInGo(t *testing.T) {
	t.Parallel()
	patterns := []string{
		`^/a$`, `(?i)^/ÄB$`, `^/[à-ž]+$`, `^/[^a-z]$`, `^/.$`, `^/..$`, `/\bword\b`, `^/(?P<name>x+?)(y*)$`, `^/a{2,3}$`, `^/(?:ab|cd)*$`,
		`^/\d+\.html$`, `(?i)/k$`, `(?i)/s$`, `^/[[:upper:]]+$`, `^/\x{1F600}$`, `^/\Qa.b\E$`, `^/[\w-]+$`, `(?s)^/.+$`, `^/[^/]*/$`, `(?U)^/a+`,
		`\.(?:jpg|png)$`, `^$`, `/é`, `^/[€-₿]$`, `^/[𐀀-𐄀]$`, `^/[a-z\x{430}-\x{44f}]+$`, `^/(|a)b$`, `(?i)^/[a-f]+$`, `^/\S+$`, `^/a\tb$`,
	}
	subjects := []string{
		"/a", "/A", "/äb", "/ÄB", "/é", "/É", "/žà", "/x", "/xxyy", "/aa", "/aaaa", "/abcd", "/12.html", "/k", "/K", "/K", "/s", "/ſ", "/ABC",
		"/😀", "/a.b", "/axb", "/a-b_c", "/one/", "/one/two", "/pic.png", "/pic.PNG", "/€", "/₿", "/𐀁", "/привет", "/b", "/ab", "/fade", "/FADE", "/a word here",
		"/sword", "/\u2028", "/\ufffd", "/日本",
	}
	s := start(t, Options{})
	var sites []*webserver.Site
	for i, p := range patterns {
		m := parse(t, fmt.Sprintf("rewrite: {%q: /hit.html}\n", p))
		sites = append(sites, withManifest(stage(t, newSite(t, fmt.Sprintf("p%d.test", i)), map[string]string{"hit.html": "hit"}), m))
	}
	apply(t, s, sites...)
	for _, site := range sites {
		v, err := visit(s, site.Domain)
		if err != nil {
			t.Fatal(err)
		}
		for _, subject := range subjects {
			want := 404
			if path, _ := site.Manifest.Rewrite(subject); path == "/hit.html" {
				want = 200
			}
			status, _, err := v.get(escape(subject), "")
			if err != nil || status != want {
				t.Errorf("%s on %q: %d %v, want %d", site.Manifest.Rewrites[0].Pattern, subject, status, err, want)
			}
		}
		v.Close()
	}
}

// escape writes a path for a request line.
func escape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; c > ' ' && c < 0x7f && c != '%' && c != '?' && c != '#' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// What nginx cannot read at all is answered by the node, in the same way.
func TestPatternsTooLongForNginxAreAnsweredByTheNode(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	m := parse(t, "rules: [{match: '^/(?:"+strings.Repeat(`[^a-z]|`, 500)+"x)$', options: {deny: true}}, {match: '^/\\pL+$', options: {deny: true}}]")
	site := withManifest(page(t, "long.test", "page"), m)
	apply(t, s, site)
	if !slices.Contains(strings.Split(s.model.sites["long.test"].class.body, "\n"), "	location / {") {
		t.Error(s.model.sites["long.test"].class.body)
	}
	wantBody(t, s, "long.test", "/", "page")
	for _, path := range []string{"/x", "/%D0%B6"} {
		if status, _, err := get(s, "long.test", path); err != nil || status != 404 {
			t.Errorf("%s: %d %v", path, status, err)
		}
	}
}
