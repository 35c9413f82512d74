// Command mutants shows that the tests find bugs: it puts one deliberate bug after the other into a copy of the tree and
// runs the test that must turn red. A bug that survives means that a test is missing, and fails the program. The bugs stand in
// tables; start at mutants.go.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	run := flag.String("run", "", "only mutants whose name matches this regular expression")
	table := flag.Bool("table", false, "print the table of docs/reliability.md, and change nothing")
	check := flag.Bool("check", false, "run each test on the unchanged tree first, where it must be green")
	flag.Parse()
	if *table {
		fmt.Print(markdown())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := all(ctx, *run, *check); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func all(ctx context.Context, run string, check bool) error {
	wanted, err := regexp.Compile(run)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "statiko-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := copyTree(ctx, folder); err != nil {
		return err
	}
	caught, survived := 0, []string{}
	for _, m := range mutants {
		if !wanted.MatchString(m.name) {
			continue
		}
		began := time.Now()
		how, err := m.judge(ctx, folder, check)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		took := time.Since(began).Round(time.Second)
		if err != nil {
			survived = append(survived, m.name)
			fmt.Printf("SURVIVED  %-42s %5s  %v\n", m.name, took, err)
			continue
		}
		caught++
		fmt.Printf("caught    %-42s %5s  %s\n", m.name, took, how)
	}
	if caught+len(survived) == 0 {
		return fmt.Errorf("no mutant's name matches %q", run)
	}
	fmt.Printf("%d of %d deliberate bugs are caught\n", caught, caught+len(survived))
	if len(survived) > 0 {
		return fmt.Errorf("no test finds: %s", strings.Join(survived, ", "))
	}
	return nil
}

// copyTree copies what git would commit, as it is now.
func copyTree(ctx context.Context, to string) error {
	list, err := exec.CommandContext(ctx, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for file := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, file)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file), data, 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// judge tells how the mutant was caught, or returns an error. The tree is as before afterwards.
func (m mutant) judge(ctx context.Context, folder string, check bool) (string, error) {
	if check {
		if out, err := m.test(ctx, folder); err != nil {
			return "", fmt.Errorf("its test is red without it: %w\n%s", err, out)
		}
	}
	for _, e := range m.edits {
		undo, err := e.apply(folder)
		if err != nil {
			return "", err
		}
		defer undo()
	}
	vet := exec.CommandContext(ctx, "go", "build", "./"+m.pkg)
	vet.Dir = folder
	if out, err := vet.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	out, err := m.test(ctx, folder)
	failed := regexp.MustCompile(`(?m)^--- FAIL: (\S+)`).FindSubmatch(out)
	switch {
	case err == nil && !bytes.Contains(out, []byte("\n--- PASS: ")):
		return "", fmt.Errorf("its test did not run here:\n%s", out)
	case err == nil:
		return "", fmt.Errorf("go test -run '%s' ./%s is green", m.run, m.pkg)
	case failed != nil:
		return string(failed[1]), nil
	case bytes.Contains(out, []byte("panic: test timed out")):
		return "the test does not end", nil
	case bytes.Contains(out, []byte("panic: ")):
		return "the test panics", nil
	}
	return "", fmt.Errorf("the test did not run: %w\n%s", err, out)
}

// markdown returns the table of docs/reliability.md.
func markdown() string {
	var b strings.Builder
	b.WriteString("| the bug | must be found by |\n|---|---|\n")
	for _, m := range mutants {
		fmt.Fprintf(&b, "| %s | `go test -run '%s' ./%s` |\n", m.name, strings.ReplaceAll(m.run, "|", "\\|"), m.pkg)
	}
	return b.String()
}

// test runs the mutant's test.
func (m mutant) test(ctx context.Context, folder string) ([]byte, error) {
	timeout := "90s"
	if len(m.env) > 0 {
		timeout = "5m"
	}
	c := exec.CommandContext(ctx, "go", "test", "-v", "-count=1", "-timeout="+timeout, "-run="+m.run, "./"+m.pkg)
	c.Dir = folder
	c.Env = append(os.Environ(), m.env...)
	return c.CombinedOutput()
}

// edit replaces a text, which stands in the file exactly once.
type edit struct{ file, old, new string }

func (e edit) apply(folder string) (undo func(), err error) {
	path := filepath.Join(folder, e.file)
	before, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(before), e.old); n != 1 {
		return nil, fmt.Errorf("%s has %d times what is to be replaced, want once: %q", e.file, n, e.old)
	}
	after := strings.Replace(string(before), e.old, e.new, 1)
	// What cannot be undone is in a copy that is thrown away.
	return func() { _ = os.WriteFile(path, before, 0o644) }, os.WriteFile(path, []byte(after), 0o644)
}
