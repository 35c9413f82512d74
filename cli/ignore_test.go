package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ignoreCases are patterns and files; git says which of them are ignored.
var ignoreCases = []struct {
	name, patterns string
	files          []string
}{
	{"names", "*.map\nnode_modules\n", []string{"a.map", "sub/b.map", "node_modules/x/y.js", "sub/node_modules/z", "map", "a.map.js"}},
	{"anchored", "/draft.html\nsub/old\n", []string{"draft.html", "sub/draft.html", "sub/old/x", "a/sub/old/x", "sub/older"}},
	{"folders only", "build/\n", []string{"build/x", "sub/build/x", "other/build"}},
	{"negated", "*.log\n!keep.log\nsub/*\n!sub/index.html\n", []string{"a.log", "keep.log", "x/keep.log", "sub/a", "sub/index.html"}},
	{"negated below what is left out", "sub/\n!sub/index.html\n", []string{"sub/index.html"}},
	{"the last counts", "!a\na\n", []string{"a", "b"}},
	{"two stars", "**/foo\nbar/**\na/**/b\n**/c/d\n", []string{"foo", "x/foo", "x/y/foo/z", "bar/x/y", "x/bar/y", "a/b", "a/x/b", "a/x/y/b/z", "ab", "c/d", "x/c/d", "xc/d"}},
	{"two stars in a name", "a**b\nfoo**/x\n", []string{"ab", "axxb", "a/b", "x/ayyb", "foo/x", "foobar/x"}},
	{"one star", "a*/b\n*.m?p\n", []string{"ax/b", "ax/y/b", "x.map", "x.mp", "d/y.mop"}},
	{"classes", "[a-c]x\n[!0-9]y\n[]]z\n[^a]w\n[[:digit:]]v\n[a\\]]u\n[-a]t\n", []string{"ax", "dx", "5y", "fy", "]z", "az", "aw", "bw", "7v", "xv", "]u", "au", "bu", "-t", "at", "bt"}},
	{"no slash in a class", "a[!b]c/d\n", []string{"axc/d", "abc/d"}},
	{"escapes", "\\#a\n\\!b\nc\\*\n\\d\n", []string{"#a", "!b", "c*", "cx", "d"}},
	{"comments and spaces", "# a\n\n  \na  \nb\\ \n c\n", []string{"# a", "a", "b ", "b", " c", "c"}},
	{"unusual letters", "größe*\nd.t\n?\n", []string{"größe.txt", "dxt", "d.t", "x"}},
	{"a byte order mark", "\ufeffa\n", []string{"a"}},
	{"all but one", "/*\n!/index.html\n!/css\n", []string{"index.html", "a", "css/x", "b/c"}},
	{"no newline at the end", "a\nb", []string{"a", "b", "c"}},
}

// TestIgnore_AsGit compares with what git leaves out of the same folder for the same patterns.
func TestIgnore_AsGit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("git is missing")
		}
		t.Skip("git is missing, which this compares with")
	}
	for _, test := range ignoreCases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, f := range append(test.files, "certainly-packed") {
				write(t, dir, f, "x")
			}
			want := gitFiles(t, dir, test.patterns)
			write(t, dir, ignoreFile, test.patterns)
			var got []string
			for _, e := range scanned(t, dir).entries {
				if e.file != "" {
					got = append(got, e.name)
				}
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("packed are\n%q\nand git has\n%q", got, want)
			}
		})
	}
}

// gitFiles returns what git does not ignore in a folder, sorted by name as folders are walked.
func gitFiles(t *testing.T, dir, patterns string) []string {
	t.Helper()
	meta := filepath.Join(t.TempDir(), "git")
	excludes := filepath.Join(t.TempDir(), "patterns")
	if err := os.WriteFile(excludes, []byte(patterns), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	for _, args := range [][]string{{"init", "-q"}, {"-c", "core.excludesFile=" + excludes, "ls-files", "-z", "--others", "--exclude-standard"}} {
		cmd := exec.Command("git", append([]string{"--git-dir=" + meta, "--work-tree=" + dir}, args...)...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &stderr
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+t.TempDir(), "XDG_CONFIG_HOME=")
		if err := cmd.Run(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, &stderr)
		}
	}
	// Walking a folder sorts by element, and git by the whole path: the order of both is made the same by packing
	// again from git's list.
	kept := map[string]bool{}
	for name := range strings.SplitSeq(strings.TrimRight(out.String(), "\x00"), "\x00") {
		kept[name] = true
	}
	var files []string
	for _, e := range scanned(t, dir).entries {
		if e.file != "" && kept[e.name] {
			files = append(files, e.name)
			delete(kept, e.name)
		}
	}
	if len(kept) > 0 {
		t.Fatalf("git has %v, which are not packed without patterns", kept)
	}
	return files
}

func TestIgnore_FaultsNameTheLine(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"a[b": `has a "[" without a "]"`, "a\\": "ends with a backslash", "/": "names nothing", "!": "names nothing", "[z-a]": "is no pattern",
	} {
		_, err := parseIgnore([]byte("ok\n" + pattern + "\n"))
		f, ok := errors.AsType[*failure](err)
		if !ok || f.code != ExitUser || !strings.Contains(f.message, fmt.Sprintf("line 2: %q %s", pattern, want)) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestIgnore_LeftOutByDefaultMayBeKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, f := range []string{"index.html", ".gitkeep", ".git/config", "secret", "sub/" + ignoreFile} {
		write(t, dir, f, "x")
	}
	write(t, dir, ignoreFile, "!.gitkeep\nsecret\n")
	names := func(all bool) string {
		tree, err := scanFolder(dir, all)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range tree.entries {
			names = append(names, e.name)
		}
		return strings.Join(names, " ")
	}
	// A file of that name elsewhere has no say.
	if got := names(false); got != ".gitkeep index.html sub/ sub/.statikoignore" {
		t.Errorf("packed are %s", got)
	}
	if got := names(true); got != ".git/ .git/config .gitkeep .statikoignore index.html secret sub/ sub/.statikoignore" {
		t.Errorf("with all, packed are %s", got)
	}
}
