package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"statiko/test/cluster"
)

// tick is a unit of processor time: USER_HZ is 100 on every Linux that Go runs on.
const tick = time.Second / 100

// processorTime returns what the process and those below it have used, in user and system mode. It sees none that has ended.
func processorTime(p *cluster.Process) time.Duration {
	used, children := map[string]int64{}, map[string][]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything. Of what follows, the second field is the parent, the 12th and
		// 13th are the times (proc(5)).
		f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(f) < 13 {
			continue
		}
		pid := filepath.Base(filepath.Dir(path))
		children[f[1]] = append(children[f[1]], pid)
		for _, text := range f[11:13] {
			n, _ := strconv.ParseInt(text, 10, 64)
			used[pid] += n
		}
	}
	var sum func(pid string) int64
	sum = func(pid string) int64 {
		n := used[pid]
		for _, child := range children[pid] {
			n += sum(child)
		}
		return n
	}
	return time.Duration(sum(strconv.Itoa(p.Cmd.Process.Pid))) * tick
}

// ownProcessorTime is what this process has used, to tell what measuring cost.
func ownProcessorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
