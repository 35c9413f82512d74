package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// findRoot returns the folder with this module's go.mod, the working directory or one above it.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module statiko\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside of Statiko's source tree: there is no go.mod of it here or above")
		}
		dir = parent
	}
}

// machineNotes say what the figures were measured on. They have no date, so that a run that changes nothing changes
// little.
func machineNotes(root string, quick bool) []string {
	notes := []string{fmt.Sprintf("Machine: %d cores (%s), %s/%s, %s.",
		runtime.NumCPU(), processor(), runtime.GOOS, runtime.GOARCH, runtime.Version())}
	if quick {
		notes = append(notes, "Measured with -quick: fewer sites and shorter rounds than the targets are about.")
	}
	var tools []string
	for _, t := range []struct {
		name string
		args []string
	}{{"nginx", []string{"-v"}}, {"caddy", []string{"version"}}, {"wrk", []string{"-v"}}, {"openssl", []string{"version"}}} {
		// The exit code says nothing: wrk -v ends with 1.
		out, _ := exec.Command(t.name, t.args...).CombinedOutput()
		if line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n"); line != "" {
			line, _, _ = strings.Cut(line, " Copyright")
			tools = append(tools, t.name+" "+strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(line, "nginx version: "), t.name), " /"))
		}
	}
	if len(tools) > 0 {
		notes = append(notes, "Beside: "+strings.Join(tools, "; ")+".")
	}
	return notes
}

func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
