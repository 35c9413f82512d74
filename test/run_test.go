package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// "make run" on a fresh machine: the node comes up however long it takes, stkcli knows its key, the lines that are
// printed do what they say, also when it is run again, and stopping it is no failure.
func TestRun_FirstAndSecondTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script, err := os.ReadFile("../scripts/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"scripts", "my-site", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"scripts/run":        string(script),
		"my-site/index.html": "Hello\n",
		// A node that takes its time, as on a busy machine.
		"bin/statiko": "#!/bin/sh\ncase $1 in --config) sleep 1 ;; esac\nexec " + filepath.Join(built(t), "statiko") + ` "$@"` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(built(t), "stkcli"), filepath.Join(dir, "bin/stkcli")); err != nil {
		t.Fatal(err)
	}
	shell := startShell(t, dir)
	must := func(command, want string) string {
		t.Helper()
		out, status := shell.run(t, command)
		if status != "0" || !strings.Contains(out, want) {
			t.Fatalf("%s\nexit code %s, and %q is wanted in\n%s", command, status, want, out)
		}
		return out
	}
	start := func() string {
		t.Helper()
		must("scripts/run >run.log 2>&1 & run=$!", "")
		return must("until grep -q Ctrl-C run.log; do kill -0 $run 2>/dev/null || { cat run.log; exit 1; }; sleep 0.05; done; cat run.log", "In a second terminal")
	}
	printed := 0
	for line := range strings.Lines(start()) {
		command, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		printed++
		command = strings.TrimSpace(command)
		switch {
		case strings.HasPrefix(command, "bin/stkcli deploy"):
			must(command+" --wait", "")
		case strings.HasPrefix(command, "curl "):
			must(command+" -s", "Hello")
		default:
			must(command, "")
		}
	}
	if printed != 4 {
		t.Errorf("%d commands were printed", printed)
	}
	const stop = "kill $run; wait $run"
	must(stop, "")
	start()
	must("bin/stkcli site list", "hello.localhost")
	must(stop, "")
}
