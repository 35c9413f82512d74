package test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"statiko/test/cluster"
)

// TestDocumentation carries out the examples of README.md and docs/*.md, so that they keep being true.
//
// A fenced block (```console or ```sh) that follows a line "<!-- run: NAME -->" is carried out. The blocks of one
// document run in their order in one shell, which starts in an empty folder with the built programs in bin/. In a
// block, a line that begins with "$ " is a command; lines that follow and begin with "> " continue it. In a block
// without any "$ " every line is part of one script. Each must exit with 0.
//
// Other lines are what the command prints, on either output. They stand for all of it, in order: a line of the
// document is the beginning of the line printed; "..." in a line stands for anything; a line that is "..." stands
// for any number of lines. A command without such lines may print what it likes.
//
// The command of a block whose name ends in "(background)" is a node, as somebody would start it in a terminal of its
// own. The next command runs when the node says that it is up; the node is stopped when the document ends.
//
// Each document has a network and processes of its own, so that ports of the examples are free, and nothing stays.
// Where that is not possible the test is skipped.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range append([]string{"../README.md"}, files...) {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			t.Logf("there is no %s", file)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := examples(string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if len(blocks) == 0 {
			continue
		}
		ran++
		t.Run(filepath.Base(file), func(t *testing.T) { runExamples(t, blocks) })
	}
	if ran == 0 {
		t.Log("no document has a block marked with <!-- run: NAME -->")
	}
}

// example is one command of a document, with what it prints.
type example struct {
	block   string
	line    int
	command string
	want    []string
	// background: it is a node that runs until the document ends.
	background bool
}

var (
	runMark = regexp.MustCompile(`^<!-- run: *(\S.*?) *-->$`)
	fence   = regexp.MustCompile("^```(console|sh)$")
)

// examples returns the commands of the marked blocks.
func examples(text string) ([]example, error) {
	var all []example
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		mark := runMark.FindStringSubmatch(lines[i])
		if mark == nil {
			continue
		}
		for i++; i < len(lines) && lines[i] == ""; i++ {
		}
		if i == len(lines) || !fence.MatchString(lines[i]) {
			return all, fmt.Errorf("line %d: no console or sh block follows the mark %q", i, mark[1])
		}
		first := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		if i == len(lines) {
			return all, fmt.Errorf("line %d: the block is not closed", first)
		}
		all = append(all, blockExamples(mark[1], first, lines[first:i])...)
	}
	return all, nil
}

func blockExamples(name string, first int, lines []string) []example {
	var all []example
	for i, line := range lines {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, example{block: name, line: first + i + 1, command: command})
			continue
		}
		if len(all) == 0 {
			return []example{{block: name, line: first + 1, command: strings.Join(lines, "\n")}}
		}
		last := &all[len(all)-1]
		if more, ok := strings.CutPrefix(line, "> "); ok && len(last.want) == 0 {
			last.command += "\n" + more
		} else {
			last.want = append(last.want, line)
		}
	}
	for i := range all {
		all[i].background = strings.HasSuffix(name, "(background)")
		for len(all[i].want) > 0 && all[i].want[len(all[i].want)-1] == "" {
			all[i].want = all[i].want[:len(all[i].want)-1]
		}
	}
	return all
}

// exampleTimeout is how long one command may take.
const exampleTimeout = 60 * time.Second

// runExamples carries out the examples of one document.
func runExamples(t *testing.T, all []example) {
	dir := t.TempDir()
	if err := os.Symlink(built(t), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	shell := startShell(t, dir)
	for _, e := range all {
		command := e.command
		if e.background {
			const up = `until grep -q "the node is up" .node; do kill -0 $! 2>/dev/null || { cat .node; wait $!; break; }; sleep 0.05; done`
			command = e.command + " >.node 2>&1 &\n" + up
		}
		out, status := shell.run(t, command)
		if status != "0" {
			t.Fatalf("%s, line %d: %s\nexit code %s\n%s", e.block, e.line, e.command, status, out)
		}
		if len(e.want) == 0 {
			continue
		}
		got := strings.Split(strings.TrimRight(out, "\n"), "\n")
		if !linesMatch(e.want, got) {
			t.Errorf("%s, line %d: %s\nprints\n%s\nand the document says\n%s", e.block, e.line, e.command, out, strings.Join(e.want, "\n"))
		}
	}
}

// shell is a bash that carries out one command after the other.
type shell struct {
	in    io.Writer
	lines chan string
}

const endOfCommand = "--- end of the command:"

func startShell(t *testing.T, dir string) *shell {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	env := cluster.CleanEnv("HOME="+dir, "NO_COLOR=1", "LC_ALL=C")
	// This test's own program brings the loopback interface of a new network up, and becomes the shell.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(env, loopbackOnly+"="+bash)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.Dir = dir
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		r.Close()
		w.Close()
		t.Skipf("a network of its own is not possible here: %v", err)
	}
	w.Close()
	s := &shell{in, make(chan string, 10000)}
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		// What runs in the background is ended by the shell that started it, and all that is left, such as a
		// command that took too long, with the shell, which is the first process of its own.
		fmt.Fprintln(in, `kill $(jobs -p) 2>/dev/null; wait; exit`)
		in.Close()
		if t.Failed() {
			_ = cmd.Process.Kill()
		}
		timer := time.AfterFunc(cluster.StopTimeout, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		for range s.lines {
		}
		r.Close()
	})
	return s
}

// run carries out one command, and returns what was printed until its end, and its exit code.
func (s *shell) run(t *testing.T, command string) (out, status string) {
	t.Helper()
	// The newline before the mark ends a last line that has none.
	fmt.Fprintf(s.in, "%s\nstatus=$?; echo; echo '%s' $status\n", command, endOfCommand)
	timer := time.NewTimer(exampleTimeout)
	defer timer.Stop()
	var b strings.Builder
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return b.String(), "(the shell ended)"
			}
			if status, ok := strings.CutPrefix(line, endOfCommand); ok {
				return strings.TrimSuffix(b.String(), "\n"), strings.TrimSpace(status)
			}
			b.WriteString(line + "\n")
		case <-timer.C:
			t.Fatalf("%s: still running after %s\n%s", command, exampleTimeout, b.String())
		}
	}
}

// linesMatch compares what is printed with what the document says.
func linesMatch(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if want[0] == "..." {
		for i := 0; i <= len(got); i++ {
			if linesMatch(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && lineMatches(want[0], got[0]) && linesMatch(want[1:], got[1:])
}

func lineMatches(want, got string) bool {
	parts := strings.Split(want, "...")
	got, ok := strings.CutPrefix(got, parts[0])
	for _, part := range parts[1:] {
		if !ok {
			break
		}
		_, got, ok = strings.Cut(got, part)
	}
	return ok
}

// loopbackOnly names the environment variable that makes the test's program a shell: its value is the shell's path.
const loopbackOnly = "STATIKO_TEST_SHELL"

// becomeShell brings the loopback interface up, and replaces this process. It returns only on an error.
func becomeShell() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bring the loopback interface up: %w", err)
	}
	if err := unix.Close(fd); err != nil {
		return err
	}
	bash := os.Getenv(loopbackOnly)
	return unix.Exec(bash, []string{"bash", "--norc"}, cluster.CleanEnv("HOME="+os.Getenv("HOME"), "NO_COLOR=1", "LC_ALL=C"))
}

func TestDocumentation_RunnerNotices(t *testing.T) {
	t.Parallel()
	const doc = "# A\n\n<!-- run: one -->\n\n```console\n$ echo hello world; echo it took 3 s\nhello\nit took ... s\n$ printf 'a\\nb\\nc'\n...\nc\n```\n" +
		"```sh\nfalse\n```\n<!-- run: two -->\n```sh\nX=1\ntest $X = 1\n```\n"
	all, err := examples(doc)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d examples: %v\n%+v", len(all), err, all)
	}
	runExamples(t, all)
	for _, c := range []struct{ want, got []string }{
		{[]string{"a"}, []string{"b"}}, {[]string{"a"}, []string{"a", "b"}}, {[]string{"a", "b"}, []string{"a"}},
		{[]string{"a...c"}, []string{"ab"}}, {[]string{"...", "z"}, []string{"a"}}, {[]string{""}, nil},
	} {
		if linesMatch(c.want, c.got) {
			t.Errorf("%q passes for %q", c.got, c.want)
		}
	}
	if _, err := examples("<!-- run: none -->\ntext\n"); err == nil {
		t.Error("a mark without a block is not noticed")
	}
	if _, status := startShell(t, t.TempDir()).run(t, "(exit 3)"); status != "3" {
		t.Errorf("the exit code 3 is seen as %s", status)
	}
}
