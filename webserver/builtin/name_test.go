package builtin

import (
	"strings"
	"testing"
	"time"
)

func TestHostName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a.test": "a.test", "A.Test:443": "a.test", "a.test.": "a.test", "a.test.:80": "a.test", "": "", ":80": "",
		"[::1]": "::1", "[2001:DB8::1]:443": "2001:db8::1", "[": "", "::1": "::1", "127.0.0.1:80": "127.0.0.1",
	} {
		if got := hostName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestHidden(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"/": false, "/a.b": false, "/a/b.": false, "/.git": true, "/a/.git/x": true, "/.well-known": false, "/.well-known/": false,
		"/.well-known/x": false, "/.well-known/.x": true, "/.well-knownx": true, "/a/.well-known/x": true,
	} {
		if got := hidden(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, p := range []string{"/", "/a//b/../c/.", "/..", "a", "/a/...", "/\x00", "//", "/./", "/a/..", "/a/../"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		clean, ok := cleanPath(p)
		if !ok {
			return
		}
		if clean == "" || clean[0] != '/' || strings.Contains(clean, "//") {
			t.Fatalf("%q became %q", p, clean)
		}
		for segment := range strings.SplitSeq(clean[1:], "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q became %q", p, clean)
			}
		}
		if again, ok := cleanPath(clean); !ok || again != clean {
			t.Fatalf("%q became %q and then %q", p, clean, again)
		}
	})
}

func TestListed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		list string
		weak bool
		want bool
	}{
		{`"x"`, false, true}, {`W/"x"`, true, true}, {`W/"x"`, false, false}, {`"a", "x"`, false, true}, {`"a,b","x"`, false, true},
		{`"a" , , "x"`, false, true}, {`*`, false, true}, {`x`, true, false}, {`"x`, true, false}, {``, true, false}, {`x, "x"`, true, false},
	} {
		if got := listed([]string{row.list}, `"x"`, row.weak); got != row.want {
			t.Errorf("%s, weak %v: %v", row.list, row.weak, got)
		}
	}
	// A list in several headers is one list.
	if !listed([]string{`"a"`, `"x"`}, `"x"`, false) {
		t.Error("the second header is not seen")
	}
}

func TestEntityTag_IsThatOfNginx(t *testing.T) {
	t.Parallel()
	if got := entityTag(time.Unix(0x5f3c1a2b, 999), 0x1f4); got != `"5f3c1a2b-1f4"` {
		t.Error(got)
	}
}
