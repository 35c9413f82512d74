package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScripts runs the scenarios in testdata/script. Besides testscript's own commands they have:
//
//	node [-http] [-old] [-newkey] FILE   start a node that answers as the file says; sets $NODE and $PIN
//	requests FILE                        compare what was sent since the last time
//	stkcli ARG...                        run a command line that must exit with 0
//	exits CODE ARG...                    run a command line that must exit with CODE
//	terminal                             from now on somebody sits at a terminal
//	type TEXT...                         what is typed, or piped, into the next command; each TEXT is a line
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[worldKey{}] = &world{}
			e.Setenv("STKCLI_HOME", "")
			return os.MkdirAll(filepath.Join(e.WorkDir, "home"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"node":     startNode,
			"requests": compareRequests,
			"stkcli":   func(ts *testscript.TestScript, neg bool, args []string) { runCLI(ts, neg, 0, args) },
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				code, err := strconv.Atoi(args[0])
				ts.Check(err)
				runCLI(ts, neg, code, args[1:])
			},
			"terminal": func(ts *testscript.TestScript, _ bool, _ []string) { worldOf(ts).terminal = true },
			"type": func(ts *testscript.TestScript, _ bool, args []string) {
				worldOf(ts).input = strings.Join(args, "\n") + "\n"
			},
			"filemode": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Stat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := "0" + strconv.FormatInt(int64(info.Mode().Perm()), 8); got != args[0] {
					ts.Fatalf("%s has mode %s", args[1], got)
				}
			},
		},
	})
}

type worldKey struct{}

// world is what one script has set up.
type world struct {
	node     *scriptedNode
	terminal bool
	input    string
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func runCLI(ts *testscript.TestScript, neg bool, want int, args []string) {
	if neg {
		ts.Fatalf("use exits CODE")
	}
	w := worldOf(ts)
	input := strings.NewReader(w.input)
	w.input = ""
	work := ts.Getenv("WORK")
	for i, arg := range args {
		// Commands run in the test's own folder; files are named relative to the script's.
		if name, value, ok := strings.Cut(arg, "=@"); ok {
			args[i] = name + "=" + filepath.Join(work, value)
		} else if value, ok := strings.CutPrefix(arg, "@"); ok {
			args[i] = filepath.Join(work, value)
		}
	}
	env := Env{
		Stdin: input, Stdout: ts.Stdout(), Stderr: ts.Stderr(), Getenv: ts.Getenv, Home: filepath.Join(work, "home"),
		StdinTerminal: w.terminal, StdoutTerminal: w.terminal, StderrTerminal: w.terminal,
		ReadSecret: func() (string, error) {
			b, err := io.ReadAll(input)
			line, _, _ := strings.Cut(string(b), "\n")
			return line, err
		},
	}
	if got := Run(context.Background(), args, env); got != want {
		ts.Fatalf("stkcli %s: exit code %d, not %d", strings.Join(args, " "), got, want)
	}
}

func compareRequests(ts *testscript.TestScript, _ bool, args []string) {
	want := strings.TrimSpace(ts.ReadFile(args[0]))
	got := strings.TrimSpace(strings.Join(worldOf(ts).node.takeLog(), "\n"))
	want = strings.ReplaceAll(want, "$NODE", ts.Getenv("NODE"))
	if got != want {
		ts.Fatalf("sent:\n%s\n\nexpected:\n%s", got, want)
	}
}

func TestRun_InterruptedIsToldAndEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stderr strings.Builder
	code := Run(ctx, []string{"site", "list", "--http"}, Env{
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &stderr, Home: t.TempDir(),
		Getenv: func(name string) string { return map[string]string{"NODE_KEY": "key"}[name] },
	})
	if code != ExitInterrupted || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}

func TestRun_FullDiskBehindStandardOutput(t *testing.T) {
	t.Parallel()
	var stderr strings.Builder
	code := Run(context.Background(), []string{"version"}, Env{
		Stdin: strings.NewReader(""), Stdout: fullDisk{}, Stderr: &stderr, Home: t.TempDir(),
	})
	if code != ExitLocal || !strings.Contains(stderr.String(), "no space left") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
