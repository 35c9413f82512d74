package node

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest = regexp.MustCompile("`([a-z]+)\\.(Test\\w+)`")
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// The table of weaknesses names tests that exist, and none is missing for a number of the first part.
func TestWeaknesses_TableIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/weaknesses.md")
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(source, -1) {
			exist[filepath.Base(filepath.Dir(path))+"."+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range namedTest.FindAllStringSubmatch(string(text), -1) {
		if !exist[m[1]+"."+m[2]] {
			t.Errorf("docs/weaknesses.md names %s.%s, which does not exist", m[1], m[2])
		}
	}
	for _, number := range strings.Fields("1 2 3 4 5 6 7 8 9 11 12 13 14 15 16 17 18 22 23 28 30 31 32 33 34 35 36 37 38 39 40 41 43 44 45 46 47 49 50 51 52 53 54 55 58 60 67 68 69 70") {
		if !strings.Contains(string(text), "\n| W"+number+" | ") {
			t.Errorf("docs/weaknesses.md has no row for W%s", number)
		}
	}
}
