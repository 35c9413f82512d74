package nginx

import (
	"bytes"
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

// processes returns those of this machine that call themselves nginx. The list of a process's children
// (/proc/…/children) would be shorter, but lacks some while others end.
func processes() []process {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1) // with an error, those before it
	var all []process
	for _, name := range names {
		id, err := strconv.Atoi(name)
		if err != nil {
			continue // not of a process
		}
		// The name alone is read first: it costs the kernel the least, and most processes are others.
		folder := filepath.Join("/proc", name)
		if comm, err := os.ReadFile(filepath.Join(folder, "comm")); err != nil || string(comm) != "nginx\n" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(folder, "stat"))
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything; after it come the state, the parent and the group.
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 3 || fields[0] == "Z" {
			continue
		}
		p := process{id: id}
		p.parent, _ = strconv.Atoi(fields[1])
		p.group, _ = strconv.Atoi(fields[2])
		title, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil {
			continue
		}
		p.title = strings.TrimRight(strings.ReplaceAll(string(title), "\x00", " "), " ")
		p.folder, _ = os.Readlink(filepath.Join(folder, "cwd")) // "" is no folder of ours
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
// ports are free then. It is known by its working folder, which is this one.
func EndLeftover(dir string) {
	ended := map[int]bool{syscall.Getpgrp(): true} // each nginx has a group of its own
	for _, proc := range processes() {
		if proc.folder == filepath.Clean(dir) && proc.group > 1 && !ended[proc.group] {
			ended[proc.group] = true
			endGroup(proc.group, 3*time.Second)
		}
	}
}
