package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statiko/test/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tiny is as little as shows that everything is measured.
var tiny = sizes{
	writers: 2, writtenSites: 6, counts: []int{4, 5, 12}, adds: 2, changes: 3,
	settle: time.Millisecond, rounds: 2, round: time.Second, connections: 4, object: 48 << 20,
}

// newBench builds the program and returns a run that measures little.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{size: tiny, dir: t.TempDir(), only: map[string]bool{}}
	b.bin = b.dir
	if out, err := exec.Command("go", "build", "-o", filepath.Join(b.bin, "statiko"), "statiko/cmd/node").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return b
}

func TestMeasure_RealProgramFillsEveryRow(t *testing.T) {
	b := newBench(t)
	b.only = map[string]bool{"a": true, "b": true, "d": true}
	if err := b.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	parts := map[string]int{}
	for _, r := range b.rows {
		parts[r.Part]++
		if r.Ours <= 0 {
			t.Errorf("%s: measured %v %s", r.What, r.Ours, r.Unit)
		}
		if r.Part != "a" && !(strings.Contains(r.Growth, "4: ") && strings.Contains(r.Growth, ", 5: ") && strings.Contains(r.Growth, ", 12: ")) {
			t.Errorf("%s: how it grows is %q", r.What, r.Growth)
		}
		if r.Part != "a" && (r.Reference <= 0 || r.Ratio <= 0) {
			t.Errorf("%s: reference %v, ratio %v", r.What, r.Reference, r.Ratio)
		}
	}
	if parts["a"] != 3 || parts["b"] != 8 || parts["d"] != 3 {
		t.Errorf("rows by part: %v", parts)
	}
}

func TestMeasure_EndsItsProcessesWhenCancelledMidway(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	n, err := b.newNode("cancelled")
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { err = joinStop(err, n) }()
		if err = n.start(ctx); err != nil {
			return
		}
		cancel()
		_, err = n.restoreSites(ctx, 4)
	}()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want that of the context", err)
	}
	if err := syscall.Kill(n.Cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

func TestStart_SaysWhyTheProgramEnded(t *testing.T) {
	b := newBench(t)
	n, err := b.newNode("broken")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(n.ConfigFile()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = n.start(t.Context())
	if err == nil || !strings.Contains(err.Error(), n.ConfigFile()) {
		t.Errorf("the error is %v, want one that names the file", err)
	}
	if took := time.Since(began); took > startTimeout/2 {
		t.Errorf("waited %s for a program that had ended", took)
	}
	if err := n.stop(); err != nil {
		t.Error(err)
	}
}

func TestRun_RefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-only", "a,x"}, {"serving"}, {"-bogus"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("run %v: no error", args)
		}
	}
}

func TestProcessorTime_SeesChildren(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, err := cluster.StartProcess(dir, filepath.Join(dir, "log"), cluster.CleanEnv(), "sh", "-c", "trap 'kill $!' TERM; (while :; do :; done) & wait")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Terminate)
	if err := cluster.Poll(10*time.Second, "time of the child", func() error {
		if used := processorTime(p); used < 50*time.Millisecond {
			return fmt.Errorf("%s so far", used)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
