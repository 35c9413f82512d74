package bundle

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func parse(t testing.TB, text string) *Manifest {
	t.Helper()
	m, err := ParseManifest("_statiko.yaml", []byte(text))
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return m
}

const sample = `page404: /not-found.html
page403: errors/
rewrite:
  "^/blog/(.*)$": "/posts/$1.html"
  "^/a/(.*)/(.*)$": "/b?x=$2&y=$1"
rules:
  - prefix: "/"
    options: {headers: {"X-Frame-Options": "DENY", x-count: 1}}
  - file: _images, pdf
    options: {clientCaching: 4w}
  - exact: /internal.json
    options: {deny: true}
  - prefix: /api/
    options: {proxy: "https://api.internal.example/"}
  - match: ^/Case
    caseSensitive: true
  - match: \.php$
    options:
      clientCaching: 1d 12h
`

func TestManifest_Sample(t *testing.T) {
	t.Parallel()
	m := parse(t, sample)
	if m.Page404 != "not-found.html" || m.Page403 != "errors/index.html" {
		t.Errorf("pages %q, %q", m.Page403, m.Page404)
	}
	if len(m.Rules) != 6 || len(m.Rewrites) != 2 {
		t.Fatalf("%d rules, %d rewrites", len(m.Rules), len(m.Rewrites))
	}
	if got := m.Rules[0].Options.Headers; !reflect.DeepEqual(got, []Header{{"X-Frame-Options", "DENY"}, {"x-count", "1"}}) {
		t.Errorf("headers %v", got)
	}
	if r := m.Rules[1]; r.Options.ClientCaching != 28*24*time.Hour || r.Line != 9 {
		t.Errorf("rule 1: %v, line %d", r.Options.ClientCaching, r.Line)
	}
	if !m.Rules[2].Options.Deny || m.Rules[3].Options.Proxy.Host != "api.internal.example" || m.Rules[5].Options.ClientCaching != 36*time.Hour {
		t.Errorf("options were lost: %+v", m.Rules)
	}
	if !m.Rules[4].CaseSensitive || m.Rules[4].Pattern.MatchString("/case") || !m.Rules[5].Pattern.MatchString("/X.PHP") {
		t.Error("letter case is wrong")
	}
	for _, empty := range []string{"", "\n", "# nothing\n", "---\n", "{}", "null", "rules:\nrewrite:\npage404:\n"} {
		if m := parse(t, empty); len(m.Rules) != 0 || m.Select("/") != nil {
			t.Errorf("%q is not empty", empty)
		}
	}
}

// W68: order as written, longest prefix, HSTS.
func TestW68_RulesApplyAsDesigned(t *testing.T) {
	t.Parallel()
	m := parse(t, `rules:
  - prefix: /
    options: {headers: {Strict-Transport-Security: max-age=1}}
  - match: ^/z
  - match: ^/zebra
  - file: "png, JPG"
  - prefix: /static/
  - prefix: /static/img/deep
  - prefix: /static/img
  - exact: /static/img
  - file: _fonts
`)
	plain := &Manifest{Rules: m.Rules} // without index
	for path, want := range map[string]int{
		"/": 0, "/nothing": 0, "/zebra": 1, "/zoo.png": 1, "/a.png": 3, "/a.PNG": 3, "/a.jpg": 3, "/a.jpgx": 0, "/png": 0,
		"/static": 0, "/static/": 4, "/static/a.png": 4, "/static/imp": 4, "/static/img": 7, "/static/img/": 6, "/static/imgs.png": 6,
		"/static/img/deep/x": 5, "/static/img/deeq": 6, "/x.woff2": 8, "/ä.png": 3,
	} {
		for name, m := range map[string]*Manifest{"indexed": m, "plain": plain} {
			r := m.Select(path)
			if r != &m.Rules[want] {
				t.Errorf("%s: Select(%q) = %+v; want rule %d (%s %s)", name, path, r, want, m.Rules[want].Matcher, m.Rules[want].Value)
			}
		}
	}
	if h := m.Select("/").Options.Headers; len(h) != 1 || h[0].Name != "Strict-Transport-Security" {
		t.Errorf("HSTS: %v", h)
	}
	var none *Manifest
	if none.Select("/") != nil || (&Manifest{}).Select("/") != nil {
		t.Error("a manifest without rules selects one")
	}
	if r := parse(t, "rules: [{prefix: /a}]").Select("/b"); r != nil {
		t.Errorf("selected %+v", r)
	}
}

func TestManifest_Rewrite(t *testing.T) {
	t.Parallel()
	m := parse(t, `rewrite:
  "^/blog/(.*)$": "/blog/posts/$1.html"
  "^/blog/posts/(.*)$": "/never"
  "^/q/(.*)$": "/search?for=$1&raw=1"
  "^/up/(.*)$": "/files/$1"
  "^/swap/([^/]+)/([^/]+)/?$": "/$2$1$2/"
  "^/opt(x)?$": "/o$1"
`)
	for in, want := range map[string][2]string{
		"/":              {"/", ""},
		"/blog/a":        {"/blog/posts/a.html", ""}, // once, as nginx does; not again and again
		"/blog/posts/a":  {"/blog/posts/posts/a.html", ""},
		"/q/a b&c":       {"/search", "for=a+b%26c&raw=1"},
		"/up/../../etc":  {"/etc", ""},
		"/up/$1":         {"/files/$1", ""},
		"/up/x?y":        {"/files/x?y", ""}, // a question mark in a decoded path is no query
		"/swap/one/two/": {"/twoonetwo/", ""},
		"/opt":           {"/o", ""},
	} {
		if path, query := m.Rewrite(in); path != want[0] || query != want[1] {
			t.Errorf("Rewrite(%q) = %q, %q; want %q", in, path, query, want)
		}
	}
	var none *Manifest
	if path, _ := none.Rewrite("/a"); path != "/a" {
		t.Error("a nil manifest rewrites")
	}
}

// One test for each fault: where it is, and what is said.
func TestW14_FaultyManifestsNameEveryFault(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"NotYAML", "rules:\n  - exact: \"/a\n", "m:2: is not YAML: found unexpected end of stream"},
		{"Tab", "rules:\n\t- exact: /a\n", "m:2: is not YAML: found character that cannot start any token"},
		{"TwoDocuments", "page404: a\n---\npage404: b\n", "m:2: a second document begins here"},
		{"List", "- a\n", "m:1: must be a mapping of keys to values, not a list"},
		{"UnknownKey", "page404: a\nlocations: []\n", "m:2: locations: unknown key; known ones are rules, rewrite, page403, page404"},
		{"DuplicateKey", "page404: a\npage404: b\n", "m:2: page404: duplicate key; it stands in line 1 already"},
		{"WrongType", "rules: yes\n", "m:1: rules: must be a list, not text"},
		{"NoMatcher", "rules:\n- options: {deny: true}\n", "m:2: rules[0]: needs one of exact, prefix, match, file"},
		{"TwoMatchers", "rules:\n- exact: /a\n  prefix: /b\n", "m:2: rules[0]: has exact and prefix; a rule has exactly one of them"},
		{"EmptyRule", "rules:\n-\n", "rules[0]: is empty"},
		{"EmptyMatcher", "rules:\n- exact: ''\n", "m:2: rules[0].exact: must not be empty"},
		{"NumberMatcher", "rules:\n- exact: 12\n", "m:2: rules[0].exact: must be text, not a number; put it into quotes"},
		{"UnknownRuleKey", "rules:\n- exact: /a\n  regex: b\n", "m:3: rules[0].regex: unknown key"},
		{"SamePrefixTwice", "rules:\n- prefix: /a\n- exact: /a\n- prefix: /a\n", "m:4: rules[2].prefix: rules[0] has the same prefix"},
		{"NoSlash", "rules:\n- prefix: a\n", `m:2: rules[0].prefix: "a" must begin with a slash`},
		{"NotNormalised", "rules:\n- exact: /a/../b\n", "can match nothing"},
		{"BadPattern", "rules:\n- exact: /a\n- match: \"a(b\"\n", `m:3: rules[1].match: "a(b" is not an RE2 pattern: missing closing )`},
		{"Lookahead", "rules:\n- match: ^/(?!a)\n", "is not an RE2 pattern: invalid or unsupported Perl syntax"},
		{"Backreference", "rules:\n- match: (a)\\1\n", "is not an RE2 pattern"},
		{"HugePattern", "rules:\n- match: (a{1000}){30}\n", "is not an RE2 pattern: invalid repeat count"},
		{"LargePattern", "rules:\n- match: '" + strings.Repeat("[a-c]{1000}", 30) + "'\n", "the pattern is too large"},
		{"CaseSensitiveWithExact", "rules:\n- exact: /a\n  caseSensitive: true\n", "m:3: rules[0].caseSensitive: goes with match only"},
		{"CaseSensitiveText", "rules:\n- match: a\n  caseSensitive: 'yes'\n", "must be true or false, not text"},
		{"FilePattern", "rules:\n- file: 'a|b'\n", `"a|b" is not a file extension`},
		{"FileGroup", "rules:\n- file: _pictures\n", `"_pictures" is not a group`},
		{"FileEmptyItem", "rules:\n- file: 'a,,b'\n", `"" is not a file extension`},
		{"UnknownOption", "rules:\n- exact: /a\n  options:\n    cache: 1d\n", "m:4: rules[0].options.cache: unknown key"},
		{"CachingZero", "rules:\n- exact: /a\n  options: {clientCaching: 0}\n", "m:3: rules[0].options.clientCaching: \"0\" has a zero"},
		{"CachingNoUnit", "rules:\n- exact: /a\n  options: {clientCaching: 12}\n", "without a known unit"},
		{"CachingUnit", "rules:\n- exact: /a\n  options: {clientCaching: 3q}\n", "without a known unit"},
		{"CachingNegative", "rules:\n- exact: /a\n  options: {clientCaching: -1d}\n", "is not a time"},
		{"CachingHuge", "rules:\n- exact: /a\n  options: {clientCaching: 999999999999999999999d}\n", "too long"},
		{"CachingSumHuge", "rules:\n- exact: /a\n  options: {clientCaching: 200y 200y}\n", "too long"},
		{"DenyText", "rules:\n- exact: /a\n  options: {deny: 'true'}\n", "must be true or false"},
		{"ProxyRelative", "rules:\n- exact: /a\n  options: {proxy: /b}\n", "is not an absolute http or https URL"},
		{"ProxyScheme", "rules:\n- exact: /a\n  options: {proxy: 'ftp://a/'}\n", "is not an absolute http or https URL"},
		{"ProxyFragment", "rules:\n- exact: /a\n  options: {proxy: 'http://a/#x'}\n", "fragment"},
		{"ProxyQuery", "rules:\n- exact: /a\n  options: {proxy: 'http://a/?x'}\n", "query"},
		{"ProxyPort", "rules:\n- exact: /a\n  options: {proxy: 'http://a:70000/'}\n", "no usable port"},
		{"ProxyPathOnMatch", "rules:\n- match: a\n  options: {proxy: 'http://a/b'}\n", "must not have a path (\"/b\") on a match rule"},
		{"ProxyPathOnFile", "rules:\n- file: css\n  options: {proxy: 'http://a/'}\n", "on a file rule"},
		{"Page", "page403: ../../etc/passwd\n", `m:1: page403: "../../etc/passwd" leaves the bundle`},
		{"PageEmpty", "page403: ''\n", "must name a file"},
		{"PageControl", "page403: \"a\\nb\"\n", "control characters"},
		{"RewriteGroup", "rewrite:\n  ^/(a)$: /$2\n", `m:2: rewrite.^/(a)$: the target "/$2" uses $2, but the pattern has 1 groups`},
		{"RewriteVariable", "rewrite:\n  ^/a$: /$host\n", "has a $ that is not one of $1 to $9"},
		{"RewriteURL", "rewrite:\n  ^/a$: http://x/\n", "must be a path that begins with a slash"},
		{"RewritePattern", "rewrite:\n  ^/a(: /b\n", "is not an RE2 pattern"},
		{"RewriteList", "rewrite: [a, b]\n", "m:1: rewrite: must be a mapping"},
		{"MergeKey", "a: &a {deny: true}\nrules:\n- exact: /a\n  options: {<<: *a}\n", "merge keys are not supported"},
		{"TooLarge", strings.Repeat("# comment\n", 200_000), "at most 1048576 are read"},
		{"TooManyRules", "rules:\n" + strings.Repeat("- exact: /a\n", 1001), "has 1001 rules; at most 1000 are read"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m, err := ParseManifest("m", []byte(test.text))
			var me *ManifestError
			if m != nil || !errors.As(err, &me) || len(me.Faults) == 0 {
				t.Fatalf("got %v, %v; want a ManifestError", m, err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got  %v\nwant %v", err, test.want)
			}
		})
	}
}

func TestManifest_AllFaultsAtOnceSortedByLine(t *testing.T) {
	t.Parallel()
	_, err := ParseManifest("_statiko.yaml", []byte(`rules:
  - exact: a
    options:
      clientCaching: soon
      headers: {Server: mine}
  - match: "("
colour: blue
`))
	var me *ManifestError
	if !errors.As(err, &me) {
		t.Fatal(err)
	}
	var lines []int
	for _, f := range me.Faults {
		lines = append(lines, f.Line)
	}
	if !reflect.DeepEqual(lines, []int{2, 4, 5, 6, 7}) {
		t.Fatalf("lines %v of\n%v", lines, err)
	}
	if n := strings.Count(err.Error(), "_statiko.yaml:"); n != 5 {
		t.Errorf("%d lines of text:\n%v", n, err)
	}
}

func TestW15_OddHeaderNamesAreFaults(t *testing.T) {
	t.Parallel()
	manifest := func(name, value string) string {
		return fmt.Sprintf("rules:\n- exact: /a\n  options:\n    headers: {%s: %s}\n", name, value)
	}
	for _, name := range []string{"''", "a", "x", "x-", `" "`, `"x y"`, `"x:"`, `"ä"`, `"x-ä"`, `"x-\n"`, "content-length", "server", "connection",
		"transfer-encoding", "date", "etag", "'null'", "1"} {
		_, err := ParseManifest("m", []byte(manifest(name, "value")))
		var me *ManifestError
		if !errors.As(err, &me) || me.Faults[0].Line != 4 {
			t.Errorf("header %s: %v; want a fault in line 4", name, err)
		}
	}
	for _, value := range []string{`"a\nb"`, `"a\rb"`, `"a\0b"`, `"\x7f"`, "[a]", "", strings.Repeat("v", 9000)} {
		if _, err := ParseManifest("m", []byte(manifest("x-a", value))); err == nil {
			t.Errorf("value %.20s is accepted", value)
		}
	}
	for _, name := range []string{"x-a", "X-A", "Expires", "cache-control", "Strict-Transport-Security", "Access-Control-Allow-Origin",
		"Referrer-Policy", "Permissions-Policy", "Cross-Origin-Opener-Policy", "content-security-policy", "Set-Cookie", "P3P"} {
		if _, err := ParseManifest("m", []byte(manifest(name, "value"))); err != nil {
			t.Errorf("header %s: %v", name, err)
		}
	}
	if _, err := ParseManifest("m", []byte("rules:\n- exact: /a\n  options:\n    headers: {X-A: 1, x-a: 2}\n")); err == nil {
		t.Error("one header in two spellings is accepted")
	}
}

func TestManifest_ClientCaching(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"1ms": time.Millisecond, "5s": 5 * time.Second, "3m": 3 * time.Minute, "2h": 2 * time.Hour, "1d": day, "4w": 28 * day,
		"1M": 30 * day, "1y": 365 * day, "1d 12h": 36 * time.Hour, "1d12h": 36 * time.Hour, " 1y  6M ": 545 * day, "10 m": 10 * time.Minute,
	} {
		if got, fault := parseCaching(text); got != want || fault != "" {
			t.Errorf("%q = %v, %s; want %v", text, got, fault, want)
		}
	}
	for _, text := range []string{"", " ", "d", "1", "0", "0s", "01d", "1d 0h", "1.5d", "1D", "1day", "1d,12h", "1d12", "9223372036854775807y"} {
		if got, fault := parseCaching(text); fault == "" {
			t.Errorf("%q = %v; want a fault", text, got)
		}
	}
}

func TestManifest_CheckProxies(t *testing.T) {
	t.Parallel()
	m := parse(t, `rules:
  - prefix: /a
    options: {proxy: "https://API.example"}
  - prefix: /b
    options: {proxy: "http://127.0.0.1:2379/v3"}
  - prefix: /c
    options: {proxy: "http://[::1]:8080"}
`)
	for _, test := range []struct {
		allowed []string
		refused []int // lines
	}{
		{nil, []int{2, 4, 6}},
		{[]string{"api.example"}, []int{4, 6}},
		{[]string{"api.example.", "127.0.0.1"}, []int{6}},
		{[]string{"api.example:443", "127.0.0.1:2379", "[::1]:8080"}, nil},
		{[]string{"api.example:80", "127.0.0.1:80", "0:0:0:0:0:0:0:1"}, []int{2, 4}},
		{[]string{"example", ".example", "*", "", ":2379"}, []int{2, 4, 6}},
		{[]string{"api.example", "127.0.0.1", "[::1]"}, nil},
	} {
		var lines []int
		var me *ManifestError
		if err := m.CheckProxies(test.allowed); errors.As(err, &me) {
			for _, f := range me.Faults {
				lines = append(lines, f.Line)
			}
			if !strings.Contains(err.Error(), "_statiko.yaml:") {
				t.Errorf("the file is not named: %v", err)
			}
		}
		if !reflect.DeepEqual(lines, test.refused) {
			t.Errorf("allowed %q: lines %v refused; want %v", test.allowed, lines, test.refused)
		}
	}
	_, err := ParseManifest("m", []byte("rules:\n- exact: /a\n  options: {proxy: 'http://me:hunter2@a/'}\n"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("credentials in a proxy: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("rules: &a\n- *a\n"))
	f.Add([]byte("rewrite: {\"(\": ')'}\nrules: [{match: '[', options: {headers: {x: y}}}]"))
	f.Add([]byte("a: &a [*a]\n? [x]\n: y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest("m", data)
		if err != nil {
			var me *ManifestError
			if !errors.As(err, &me) || len(me.Faults) == 0 || me.Error() == "" {
				t.Fatalf("error %T %v", err, err)
			}
			return
		}
		for _, r := range m.Rules {
			if (r.Pattern == nil) != (r.Matcher == MatchExact || r.Matcher == MatchPrefix) || r.Value == "" {
				t.Fatalf("rule %+v", r)
			}
		}
		for _, path := range []string{"/", "/a/b.png", "/index.html"} {
			m.Select(path)
			if p, _ := m.Rewrite(path); !strings.HasPrefix(p, "/") || strings.Contains(p+"/", "/../") {
				t.Fatalf("%s is rewritten to %q", path, p)
			}
		}
		for _, page := range []string{m.Page403, m.Page404} {
			if strings.HasPrefix(page, "/") || strings.HasPrefix(page, "..") {
				t.Fatalf("page %q", page)
			}
		}
	})
}

func BenchmarkSelect(b *testing.B) {
	for _, n := range []int{10, 1000} {
		var text strings.Builder
		text.WriteString("rules:\n- prefix: /\n")
		for i := range n - 1 {
			fmt.Fprintf(&text, "- prefix: /section/%d\n", i)
		}
		m := parse(b, text.String())
		b.Run(fmt.Sprintf("prefixes=%d", n), func(b *testing.B) {
			for b.Loop() {
				m.Select("/section/7/page.html")
			}
		})
	}
}
