package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every deliberate bug can still be put into the tree: its text stands there once, and its test exists.
func TestMutants_FitTheTree(t *testing.T) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants are called %q", m.name)
		}
		names[m.name] = true
		for _, e := range m.edits {
			text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), e.file))
			if err != nil {
				t.Error(err)
			}
			if n := strings.Count(string(text), e.old); n != 1 || e.old == e.new {
				t.Errorf("%s: %s has %d times what is to be replaced, want once", m.name, e.file, n)
			}
		}
		if !hasTest(t, filepath.Join(strings.TrimSpace(string(root)), m.pkg), m.run) {
			t.Errorf("%s: ./%s has no test that matches %q", m.name, m.pkg, m.run)
		}
	}
	if len(mutants) < 20 {
		t.Errorf("there are only %d mutants", len(mutants))
	}
}

func hasTest(t *testing.T, folder, run string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(run)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(string(text), -1) {
			if wanted.MatchString(name[1]) {
				return true
			}
		}
	}
	return false
}

// docs/reliability.md has the table of the deliberate bugs.
func TestMutants_AreInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), markdown()) {
		t.Error("the table in docs/reliability.md is another one; it is printed by: go run ./test/mutants -table")
	}
}
