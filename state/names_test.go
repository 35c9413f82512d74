package state

import (
	"strings"
	"testing"
)

func TestCheckDomain_StoredForm(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	long := strings.Join([]string{label63, label63, label63, strings.Repeat("a", 61)}, ".")
	for given, want := range map[string]string{
		"example.org":        "example.org",
		"WWW.Example.ORG":    "www.example.org",
		"example.org.":       "example.org",
		"localhost":          "localhost",
		"a-b.test":           "a-b.test",
		"a--b.test":          "a--b.test",
		"123.test":           "123.test",
		"1.2.3.test":         "1.2.3.test",
		"bücher.example":     "xn--bcher-kva.example",
		"BÜCHER.example":     "xn--bcher-kva.example",
		"bu\u0308cher.test":  "xn--bcher-kva.test",
		"xn--bcher-kva.test": "xn--bcher-kva.test",
		"日本。test":            "xn--wgv71a.test",
		label63 + ".test":    label63 + ".test",
		long:                 long,
	} {
		got, err := CheckDomain(given)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", given, got, err, want)
			continue
		}
		if again, err := CheckDomain(got); err != nil || again != got {
			t.Errorf("%q: the stored form %q is taken for %q, %v", given, got, again, err)
		}
	}
}

func TestCheckDomain_Refused(t *testing.T) {
	for hazard, name := range map[string]string{
		"empty":                     "",
		"only a dot":                ".",
		"reserved":                  "_default",
		"reserved, upper case":      "_DEFAULT",
		"underscore":                "a_b.test",
		"underscore first":          "_dmarc.example.org",
		"wildcard":                  "*.example.org",
		"wildcard inside":           "a.*.example.org",
		"IPv4 address":              "192.0.2.1",
		"IPv6 address":              "2001:db8::1",
		"IPv6 address in brackets":  "[2001:db8::1]",
		"IPv4 with a final dot":     "192.0.2.1.",
		"port":                      "example.org:80",
		"scheme":                    "https://example.org",
		"slash":                     "example.org/x",
		"parent folder":             "../../etc",
		"parent folder in a label":  "..",
		"NUL":                       "a\x00.test",
		"newline":                   "a\n.test",
		"blank":                     "a b.test",
		"blank at the end":          "a.test ",
		"semicolon":                 "a;b.test",
		"brace":                     "a{}.test",
		"quote":                     `a".test`,
		"hyphen first":              "-a.test",
		"hyphen last":               "a-.test",
		"empty label":               "a..test",
		"dot first":                 ".a.test",
		"two dots at the end":       "a.test..",
		"label of 64":               strings.Repeat("a", 64) + ".test",
		"254 characters":            strings.Repeat("a.", 126) + "aa",
		"longer than any name":      strings.Repeat("a", 5000),
		"not UTF-8":                 "a\xff.test",
		"false punycode":            "xn--99999999.test",
		"address in fullwidth":      "１９２.0.2.1",
		"two dots, one ideographic": "a.test。.",
		"fullwidth asterisk":        "＊.test",
		"fullwidth underscore":      "＿default",
		"fullwidth slash":           "a／b.test",
	} {
		if got, err := CheckDomain(name); err == nil {
			t.Errorf("%s: %q was taken as %q", hazard, name, got)
		}
	}
}

// An app's name becomes the name of a folder and of a file: weakness W47 of the earlier program.
func TestW47_AppNameCannotLeaveFolder(t *testing.T) {
	for _, name := range []string{"", "../../../etc", "..", ".", ".hidden", "a/b", `a\b`, "/abs", "a\x00b", "a b", "1a", "-a", "a_b", "ä", strings.Repeat("a", MaxAppName+1)} {
		if got, err := CheckAppName(name); err == nil {
			t.Errorf("%q was taken as %q", name, got)
		}
		site := &Site{Domain: "a.test", App: &SiteApp{Name: name}}
		if faults := site.Normalize(); len(faults) != 1 || faults[0].Field != "app.name" {
			t.Errorf("%q as a site's app: %v", name, faults)
		}
		if _, err := CheckCertificateName(name); err == nil {
			t.Errorf("%q was taken as a certificate's name", name)
		}
	}
	for given, want := range map[string]string{"Docs-1.2.0": "docs-1.2.0", "a": "a", strings.Repeat("a", MaxAppName): strings.Repeat("a", MaxAppName)} {
		if got, err := CheckAppName(given); err != nil || got != want {
			t.Errorf("%q: got %q, %v", given, got, err)
		}
	}
}

func TestCheckSecretName(t *testing.T) {
	for name, good := range map[string]bool{
		"cert/imported/a": true, "x": true, strings.Repeat("a", MaxSecretName): true,
		"": false, "a b": false, "ä": false, "a\n": false, strings.Repeat("a", MaxSecretName+1): false,
	} {
		if err := checkSecretName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
