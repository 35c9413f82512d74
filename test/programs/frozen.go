package programs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// awaitFrozen waits until every thread of the process has stopped: the signal only asks them to. Where there is no
// /proc there is nothing to look at.
func awaitFrozen(t testing.TB, pid int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		running := runningThreads(pid)
		if running == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d threads of the process %d run on after SIGSTOP", running, pid)
		}
		time.Sleep(time.Millisecond)
	}
}

// runningThreads counts the threads that are not stopped (state T in /proc/<pid>/task/<tid>/stat, see proc(5)).
func runningThreads(pid int) int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // the pattern is right
	running := 0
	for _, f := range files {
		stat, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		// The state stands behind the name, which is in parentheses and may contain any.
		if i := bytes.LastIndexByte(stat, ')'); i >= 0 && !bytes.HasPrefix(stat[i+1:], []byte(" T")) {
			running++
		}
	}
	return running
}
