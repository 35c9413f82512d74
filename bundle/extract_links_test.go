package bundle

import (
	"strings"
	"testing"
)

func TestExtract_Links(t *testing.T) {
	t.Parallel()
	base := []item{{name: "index.html", content: "home"}, {name: "dir/page.html", content: "page"}}
	files := contents(base)
	tests := []struct {
		name    string
		items   []item
		fault   string            // error on the last item
		more    map[string]string // files besides base
		skipped int
	}{
		{"ToFile", []item{{name: "default.html", link: "index.html"}}, "", map[string]string{"default.html": "home"}, 0},
		{"UpAndDown", []item{{name: "dir/up.html", link: "../dir/../index.html"}}, "", map[string]string{"dir/up.html": "home"}, 0},
		{"TargetComesLater", []item{{name: "a", link: "b"}, {name: "b", content: "later"}}, "", map[string]string{"a": "later", "b": "later"}, 0},
		{"Chain", []item{{name: "a", link: "b"}, {name: "b", link: "dir/c"}, {name: "dir/c", link: "page.html"}}, "",
			map[string]string{"a": "page", "b": "page", "dir/c": "page"}, 0},
		{"ThroughLinkedFolder", []item{{name: "d", link: "dir"}, {name: "a", link: "d/page.html"}}, "", map[string]string{"a": "page"}, 1},
		{"ToFolder", []item{{name: "d", link: "dir"}}, "", nil, 1},
		{"ToRoot", []item{{name: "dir/d", link: ".."}}, "", nil, 1},
		{"ToNothing", []item{{name: "d", link: "nowhere/at/all"}}, "", nil, 1},
		{"ReplacesFile", []item{{name: "x", content: "old"}, {name: "x", link: "index.html"}}, "", map[string]string{"x": "home"}, 0},
		{"ReplacedByFile", []item{{name: "x", link: "index.html"}, {name: "x", content: "new"}}, "", map[string]string{"x": "new"}, 0},
		{"Absolute", []item{{name: "x", link: "/etc/passwd"}}, "leaves the bundle", nil, 0},
		{"DotDot", []item{{name: "x", link: "../secret"}}, "leaves the bundle", nil, 0},
		{"DotDotDeep", []item{{name: "dir/x", link: "../../secret"}}, "leaves the bundle", nil, 0},
		{"DotDotAfterMissing", []item{{name: "x", link: "no/../../secret"}}, "leaves the bundle", nil, 0},
		{"OutThroughLink", []item{{name: "dir/up", link: ".."}, {name: "x", link: "dir/up/../secret"}}, "leaves the bundle", nil, 0},
		{"Itself", []item{{name: "x", link: "x"}}, "circle", nil, 0},
		{"WriteThroughLink", []item{{name: "x", link: "dir"}, {name: "x/evil", content: "evil"}}, "where a folder is needed", nil, 0},
		{"LongTarget", []item{{name: "x", link: strings.Repeat("t", 2000)}}, "1024", nil, 0},
	}
	for _, test := range tests {
		for typ, build := range map[string]func(testing.TB, ...item) []byte{"zip": buildZip, "tar": buildTar, "rar": buildRar} {
			t.Run(test.name+"/"+typ, func(t *testing.T) {
				dest, s, err := extractBytes(t, build(t, append(base, test.items...)...), typ, Limits{})
				if test.fault != "" {
					wantArchiveError(t, err, test.items[len(test.items)-1].name, test.fault)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]string{}
				for k, v := range files {
					want[k] = v
				}
				for k, v := range test.more {
					want[k] = v
				}
				wantTree(t, dest, want)
				if s.Skipped != test.skipped || len(s.Warnings) != test.skipped || s.Files != len(want) {
					t.Errorf("summary %+v; want %d skipped of %d files", s, test.skipped, len(want))
				}
			})
		}
	}
}

func TestExtract_HardLinksAndDevices(t *testing.T) {
	t.Parallel()
	dest, s, err := extractBytes(t, buildTar(t,
		item{name: "dir/a", content: "a"}, item{name: "dir/b", hard: "dir/a"}, item{name: "null", device: true}, item{name: "x", content: "x"},
	), "tar", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dest, map[string]string{"dir/a": "a", "dir/b": "a", "x": "x"})
	if s.Skipped != 1 || !strings.Contains(s.Warnings[0], "null") {
		t.Errorf("summary %+v", s)
	}
	_, _, err = extractBytes(t, buildTar(t, item{name: "a", content: "a"}, item{name: "b", hard: "../../etc/passwd"}), "tar", Limits{})
	wantArchiveError(t, err, "b", "leaves the bundle")
}
