package nginx

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// worker is a worker process of nginx.
type worker struct {
	// leaving tells that it accepts nothing any more and ends with its last request.
	leaving bool
}

// workers returns the workers of a master by their ids. They tell by their titles what they do, on Linux; elsewhere
// there are none to see.
func workers(master int) map[int]worker {
	found := map[int]worker{}
	for _, p := range processes() {
		if p.parent == master && strings.HasPrefix(p.title, "nginx: worker") {
			found[p.id] = worker{leaving: strings.Contains(p.title, "shutting down")}
		}
	}
	return found
}

type process struct {
	id, parent, group int
	title, folder     string
}

// processes returns those of this machine that call themselves nginx.
func processes() []process {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var all []process
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything; after it come the state, the parent and the group.
		_, name, _ := strings.Cut(string(b), "(")
		end := strings.LastIndexByte(name, ')')
		if end < 0 || name[:end] != "nginx" {
			continue
		}
		fields := strings.Fields(name[end+1:])
		if len(fields) < 3 || fields[0] == "Z" {
			continue
		}
		p := process{}
		p.id, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
		p.parent, _ = strconv.Atoi(fields[1])
		p.group, _ = strconv.Atoi(fields[2])
		title, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil {
			continue
		}
		p.title = strings.TrimRight(strings.ReplaceAll(string(title), "\x00", " "), " ")
		p.folder, _ = os.Readlink(filepath.Join(filepath.Dir(path), "cwd")) // "" is no folder of ours
		all = append(all, p)
	}
	return all
}

// endGroup ends what is left of an nginx that had a process group of its own: gently, and by force after a time.
func endGroup(group int, patience time.Duration) {
	left := func() bool {
		for _, p := range processes() {
			if p.group == group {
				return true
			}
		}
		return false
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGQUIT, min(patience, 3*time.Second)}, {syscall.SIGTERM, 2 * time.Second}, {syscall.SIGKILL, 2 * time.Second}} {
		if !left() {
			return
		}
		_ = syscall.Kill(-group, step.signal)
		for deadline := time.Now().Add(step.wait); time.Now().Before(deadline); {
			if !left() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// EndLeftover ends the nginx that an earlier process with this folder started and left behind because it was killed. Its
// ports are free then. It is known by its process group and by its working folder, which is this one.
func EndLeftover(dir string) {
	p := newPaths(dir)
	b, err := os.ReadFile(p.pid)
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return
	}
	for _, proc := range processes() {
		if proc.group == pid && proc.folder == filepath.Clean(dir) {
			endGroup(pid, 3*time.Second)
			return
		}
	}
}
