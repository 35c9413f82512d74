package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"statiko/certs"
	"statiko/test/cluster"
)

// TestScripts runs the scenarios in testdata/script with the built programs. Besides testscript's own commands they
// have:
//
//	configure [KEY=VALUE...]      write node/node-config.yaml; KEY= leaves a key out. A second one keeps the secret keys
//	startnode                     start a node with it, and wait until it is ready; sets stkcli's environment
//	stopnode, killnode            end it with SIGTERM (it must exit with 0) or SIGKILL
//	exits CODE PROGRAM ARG...     run a program that must exit with CODE
//	fetch STATUS URL              get a page of the node; its body is stdout, status, protocol and headers are stderr
//	waitfor TEXT PROGRAM ARG...   run a program until its output holds TEXT
//	archive KIND FILE             write a hostile archive: dotdot, link or bomb
//	makepair [-wide] NAME HOST... write NAME.crt and NAME.key; -wide makes the certificate 12 kB long
//	filemode MODE FILE
//	tmpfs FOLDER SIZE             mount a small disk; [tmpfs] tells whether that is possible
//	fill FOLDER, unfill FOLDER    leave no space on it; free it again
//	replace OLD NEW FILE          change a file
func TestScripts(t *testing.T) {
	t.Parallel()
	bin := built(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			w := &scriptedWorld{bin: bin}
			e.Values[worldKey{}] = w
			e.Defer(w.close)
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("GO_ENV", "production")
			name, value, _ := strings.Cut(cluster.QuickExit, "=")
			e.Setenv(name, value)
			return os.MkdirAll(filepath.Join(e.WorkDir, "home"), 0o700)
		},
		Condition: func(name string) (bool, error) {
			if name == "tmpfs" {
				return cluster.CanMount(t), nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"configure": scriptConfigure, "startnode": scriptStart, "stopnode": scriptStop, "killnode": scriptKill,
			"exits": scriptExits, "fetch": scriptFetch, "waitfor": scriptWaitFor, "archive": scriptArchive,
			"makepair": scriptPair, "filemode": scriptMode, "tmpfs": scriptTmpfs, "fill": scriptFill,
			"unfill": scriptUnfill, "replace": scriptReplace,
		},
	})
}

type worldKey struct{}

// scriptedWorld is what one script has set up.
type scriptedWorld struct {
	bin    string
	node   *cluster.Node
	mounts []string
}

func worldOf(ts *testscript.TestScript) *scriptedWorld {
	return ts.Value(worldKey{}).(*scriptedWorld)
}

func (w *scriptedWorld) close() {
	if w.node != nil {
		_ = w.node.End()
	}
	for _, m := range w.mounts {
		cluster.Unmount(m)
	}
}

func scriptConfigure(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	if w.node != nil {
		// The keys stay, as what is sealed with them does.
		args = append([]string{"auth.psk.key=" + w.node.PSK, "secretsEncryptionKey=" + w.node.Settings["secretsEncryptionKey"]}, args...)
	}
	n, err := cluster.Configure(w.bin, ts.MkAbs("node"), args...)
	ts.Check(err)
	if w.node != nil && w.node.Process != nil && w.node.Running() {
		ts.Check(w.node.Stop())
	}
	w.node = n
	ts.Check(n.Write())
	for name, value := range map[string]string{
		"CONFIG": n.ConfigFile(), "NODE_KEY": n.PSK, "STKCLI_NODE": "127.0.0.1", "STKCLI_PORT": strconv.Itoa(n.APIPort),
		"STKCLI_INSECURE": "true", "API": n.Address(n.APIPort), "HTTP": n.Address(n.HTTPPort), "HTTPS": n.Address(n.HTTPSPort),
		"KEY": n.Settings["secretsEncryptionKey"],
	} {
		ts.Setenv(name, value)
	}
}

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: startnode")
	}
	w := worldOf(ts)
	if w.node == nil {
		scriptConfigure(ts, false, nil)
	}
	ts.Check(w.node.Launch())
	ts.Check(w.node.Open())
	ts.Check(w.node.Settled())
}

func scriptStop(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(worldOf(ts).node.Stop())
	ts.Check(worldOf(ts).node.Clean())
}

func scriptKill(ts *testscript.TestScript, _ bool, _ []string) {
	worldOf(ts).node.Kill()
	ts.Check(worldOf(ts).node.Clean())
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, not %d", strings.Join(args[1:], " "), got, want)
	}
}

func scriptFetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fetch STATUS URL")
	}
	v := cluster.NewVisitor(worldOf(ts).node)
	defer v.Close()
	p, err := v.Get(args[1])
	ts.Check(err)
	_, _ = ts.Stdout().Write(p.Body)
	fmt.Fprintf(ts.Stderr(), "HTTP/%d %d\n", p.Proto, p.Status)
	for name := range p.Header {
		fmt.Fprintf(ts.Stderr(), "%s: %s\n", name, p.Header.Get(name))
	}
	if strconv.Itoa(p.Status) != args[0] {
		ts.Fatalf("%s: status %d, not %s", args[1], p.Status, args[0])
	}
}

func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitfor TEXT PROGRAM ARG...")
	}
	ts.Check(cluster.Poll(20*time.Second, "wait for "+args[0], func() error {
		cmd := exec.Command(filepath.Join(worldOf(ts).bin, args[1]), args[2:]...)
		cmd.Env = cluster.CleanEnv("HOME="+ts.Getenv("HOME"), "NODE_KEY="+ts.Getenv("NODE_KEY"), "STKCLI_NODE="+ts.Getenv("API"), "STKCLI_INSECURE=true")
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), args[0]) {
			return fmt.Errorf("%v\n%s", err, out)
		}
		return nil
	}))
}

func scriptPair(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: makepair [-wide] NAME HOST...")
	}
	if args[0] == "-wide" {
		args = args[1:]
		for i := range 200 {
			args = append(args, fmt.Sprintf("name-%03d.that-takes-space.example.org", i))
		}
	}
	cert, key, err := certs.SelfSigned(certs.Request{Names: args[1:]})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".crt"), cert, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), key, 0o600))
}

func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

func scriptReplace(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[2])
	if !strings.Contains(text, args[0]) {
		ts.Fatalf("%s does not hold %q", args[2], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.ReplaceAll(text, args[0], args[1])), 0o600))
}

func scriptTmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(cluster.MountDisk(dir, args[1]))
	worldOf(ts).mounts = append(worldOf(ts).mounts, dir)
}

func scriptFill(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(cluster.FillDisk(ts.MkAbs(args[0])))
}

func scriptUnfill(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(cluster.FreeDisk(ts.MkAbs(args[0])))
}

func scriptArchive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: archive KIND FILE")
	}
	data, err := hostileArchive(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// The scripts name what they show; none of them may be empty or lost.
func TestScripts_AllAreThere(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"W28-W69-configuration", "story", "W53-wrong-key", "W9-W16-state-faults", "W46-W51-archives", "W14-W32-manifest", "W70-folder", "signing", "versions", "busy-port", "disk-full", "init"} {
		if !slices.Contains(files, filepath.Join("testdata", "script", want+".txtar")) {
			t.Errorf("the scenario %s is missing", want)
		}
	}
}
