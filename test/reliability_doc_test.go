package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/reliability.md names tests that exist, and has a row for every scenario of package chaos.
func TestReliability_TheTablesAreTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	exist := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(source, -1) {
			exist[filepath.Base(filepath.Dir(path))+"."+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z]+\\.Test\\w+)`").FindAllStringSubmatch(string(text), -1) {
		named[m[1]] = true
		if !exist[m[1]] {
			t.Errorf("docs/reliability.md names %s, which does not exist", m[1])
		}
	}
	for name := range exist {
		if strings.HasPrefix(name, "chaos.TestChaos_") && !named[name] {
			t.Errorf("docs/reliability.md does not name %s", name)
		}
	}
	if len(named) < 30 {
		t.Errorf("it names only %d tests", len(named))
	}
}
