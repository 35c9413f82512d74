package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"statiko/test/cluster"
)

// inheriting starts the node's program as systemd does, with ports that are open already.
func inheriting(t *testing.T, n *cluster.Node, names string, ports ...*os.File) *exec.Cmd {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(n.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	cluster.Must(t, err)
	defer log.Close()
	// LISTEN_PID is the process's own number, which is known only once it is there.
	c := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" --config "$1"`, filepath.Join(n.Bin, "statiko"), n.ConfigFile())
	c.Env = cluster.CleanEnv("GO_ENV=production", "HOME="+n.Dir, fmt.Sprintf("LISTEN_FDS=%d", len(ports)), "LISTEN_FDNAMES="+names)
	c.ExtraFiles, c.Stdout, c.Stderr = ports, log, log
	cluster.Must(t, c.Start())
	return c
}

// With ports that systemd opened, a visitor who comes while the node restarts waits, and is not refused.
func TestNode_InheritsPortsFromSystemd(t *testing.T) {
	t.Parallel()
	n := cluster.NewNode(t, builtFast(t))
	var ports []*os.File
	for _, address := range []string{n.Address(n.HTTPPort), n.Address(n.HTTPSPort), n.Address(n.APIPort)} {
		l, err := net.Listen("tcp", address)
		cluster.Must(t, err)
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		cluster.Must(t, err)
		defer f.Close()
		ports = append(ports, f)
	}
	running := inheriting(t, n, "http:https:api", ports...)
	defer func() { _ = running.Process.Kill() }()
	client := n.API(t)
	addSite(t, client, "docs.example.org")
	v := cluster.Visit(t, n)
	cluster.Must(t, cluster.Poll(cluster.StartTimeout, "the site is served", func() error {
		p, err := v.Get("https://docs.example.org/")
		if err == nil && p.Status != 200 {
			err = fmt.Errorf("status %d", p.Status)
		}
		return err
	}))
	for range 3 {
		cluster.Must(t, running.Process.Signal(syscall.SIGTERM))
		cluster.Must(t, running.Wait())
		answered := make(chan error, 1)
		go func() {
			fresh := cluster.NewVisitor(n)
			defer fresh.Close()
			p, err := fresh.Get("https://docs.example.org/")
			if err == nil && p.Status != 200 {
				err = fmt.Errorf("status %d", p.Status)
			}
			answered <- err
		}()
		running = inheriting(t, n, "http:https:api", ports...)
		select {
		case err := <-answered:
			if err != nil {
				t.Errorf("a visitor during a restart: %v", err)
			}
		case <-time.After(cluster.StartTimeout):
			t.Fatal("a visitor during a restart got no answer")
		}
	}
	cluster.Must(t, running.Process.Signal(syscall.SIGTERM))
	cluster.Must(t, running.Wait())

	wrong := inheriting(t, n, "web", ports[0])
	err := wrong.Wait()
	log, readErr := os.ReadFile(filepath.Join(n.Dir, "log"))
	cluster.Must(t, readErr)
	if err == nil || !strings.Contains(string(log), `systemd passes a socket named "web"; its unit needs FileDescriptorName=api, http or https`) {
		t.Errorf("a socket of another name: %v\n%s", err, log)
	}
}
