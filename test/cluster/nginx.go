package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"statiko/webserver/nginx"
)

// HaveNginx tells whether this machine has nginx. Where tests must be complete (CI is set), it ends the test without.
func HaveNginx(t testing.TB) bool {
	t.Helper()
	_, err := nginx.Find()
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Logf("SKIPPED: no node runs nginx: %v", err)
	}
	return err == nil
}

// UseNginx has a node that does not run yet serve by an nginx of its own, which ends with the test.
func (n *Node) UseNginx(t testing.TB) {
	t.Helper()
	n.Settings["webserver"] = "nginx"
	if os.Getuid() == 0 {
		// Folders of tests are closed to others.
		n.Settings["nginx.user"] = "root"
	}
	Must(t, n.Write())
	n.after = append(n.after, func() { nginx.EndLeftover(n.nginxFolder()) })
}

// HasNginx tells whether UseNginx was called.
func (n *Node) HasNginx() bool { return n.Settings["webserver"] == "nginx" }

func (n *Node) nginxFolder() string { return filepath.Join(n.Settings["appRoot"], "nginx") }

// Nginx are the processes of a node's nginx.
type Nginx struct {
	Master int
	// Workers may be of former masters too. Ending are those that take no connections any more, and end with their last.
	Workers, Ending []int
}

// Nginx returns the processes of the node's nginx, also of one that a killed node left, and an error if no master runs.
func (n *Node) Nginx() (Nginx, error) {
	folders, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return Nginx{}, err
	}
	var found Nginx
	for _, folder := range folders {
		if at, err := os.Readlink(folder); err != nil || at != n.nginxFolder() {
			continue
		}
		process := filepath.Dir(folder)
		title, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		id, err := strconv.Atoi(filepath.Base(process))
		if err != nil {
			return Nginx{}, err
		}
		switch {
		case strings.HasPrefix(string(title), "nginx: master"):
			found.Master = id
		case strings.HasPrefix(string(title), "nginx: worker") && strings.Contains(string(title), "shutting down"):
			found.Ending = append(found.Ending, id)
		case strings.HasPrefix(string(title), "nginx: worker"):
			found.Workers = append(found.Workers, id)
		}
	}
	if found.Master == 0 {
		return found, fmt.Errorf("%s runs no nginx", n.Name())
	}
	return found, nil
}

// KillAndWait kills a process that is no child of this one, and waits for its end. One that has
// ended already is [syscall.ESRCH].
func KillAndWait(id int) error {
	if err := syscall.Kill(id, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %d: %w", id, err)
	}
	return Poll(StopTimeout, fmt.Sprintf("process %d ends", id), func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		// The state comes after the name, which is in parentheses and may have any in it; Z has ended, but nobody has asked how.
		state := strings.TrimSpace(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if strings.HasPrefix(state, "Z") {
			return nil
		}
		return fmt.Errorf("it is there: %.2s", state)
	})
}
