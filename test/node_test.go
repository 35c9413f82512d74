package test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/api"
	"statiko/config"
)

// startTimeout is how long a node may take until its API answers, on a busy machine with the race detector.
const startTimeout = 30 * time.Second

// node is a node's program with a folder and a configuration of its own. It can be started again and again.
type node struct {
	bin, dir          string
	settings          map[string]string
	apiPort, httpPort int
	httpsPort         int
	psk               string
	*process
}

// configureNode prepares a node in dir without writing anything. Settings are "key=value" with keys as in the
// configuration; an empty value takes a setting away.
func configureNode(bin, dir string, settings ...string) (*node, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	n := &node{bin: bin, dir: dir, psk: config.NewPSK(), apiPort: ports[0], httpPort: ports[1], httpsPort: ports[2]}
	n.settings = map[string]string{
		"nodeName": "edge-1", "port": strconv.Itoa(n.apiPort), "bindAddress": "127.0.0.1", "appRoot": filepath.Join(dir, "data"),
		"auth.psk.enabled": "true", "auth.psk.key": n.psk, "secretsEncryptionKey": config.NewEncryptionKey(),
		"state.store": "file", "state.file.path": filepath.Join(dir, "state.json"),
		"repo.type": "local", "repo.local.path": filepath.Join(dir, "repo"),
		"web.httpAddress": n.address(n.httpPort), "web.httpsAddress": n.address(n.httpsPort),
		"web.publicHttpsPort":  strconv.Itoa(n.httpsPort),
		"tls.node.certificate": filepath.Join(dir, "node.crt"), "tls.node.key": filepath.Join(dir, "node.key"),
		"log.format": "json", "tls.dhparams.generate": "never",
		"drainDelay": "0", // no load balancer has to notice
	}
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("setting %q has no =", s)
		}
		n.settings[key] = value
		if value == "" {
			delete(n.settings, key)
		}
	}
	n.psk = n.settings["auth.psk.key"]
	return n, nil
}

func (n *node) address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (n *node) configFile() string { return filepath.Join(n.dir, "node-config.yaml") }

// write writes the configuration.
func (n *node) write() error {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(n.settings)) {
		fmt.Fprintf(&text, "%s: %s\n", key, strconv.Quote(n.settings[key]))
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(n.configFile(), []byte(text.String()), 0o600)
}

// launch starts the program, and does not wait.
func (n *node) launch() (err error) {
	n.process, err = startProcess(n.dir, filepath.Join(n.dir, "log"), cleanEnv("HOME="+n.dir, "GO_ENV=production"),
		filepath.Join(n.bin, "statiko"), "--config", n.configFile())
	return err
}

// open waits until the API answers.
func (n *node) open() error {
	return poll(startTimeout, "wait for the API", func() error {
		if !n.running() {
			return final{fmt.Errorf("the node ended: %w\n%s", n.err, n.tail())}
		}
		c := n.client()
		defer c.Close()
		_, err := c.Info(context.Background())
		return err
	})
}

// settled waits until the newest state is applied.
func (n *node) settled() error {
	c := n.client()
	defer c.Close()
	return poll(startTimeout, "wait until the state is applied", func() error {
		if !n.running() {
			return final{fmt.Errorf("the node ended: %w\n%s", n.err, n.tail())}
		}
		s, err := c.Status(context.Background(), "", false)
		if err != nil {
			return err
		}
		if s.Sync.Running {
			return errors.New("a pass is running")
		}
		for _, site := range s.Health {
			// What waits for its certificate is applied without it, and again with it.
			if !site.Healthy && strings.Contains(site.Error, "certificate") {
				return fmt.Errorf("%s: %s", site.Domain, site.Error)
			}
		}
		return nil
	})
}

// client returns a client that trusts whoever answers; pins are tested with stkcli.
func (n *node) client() *api.Client {
	c, err := api.New(api.Options{Node: "127.0.0.1", Port: n.apiPort, Token: n.psk, Insecure: true, Timeout: time.Minute})
	if err != nil {
		// Only options that the caller chose can be wrong.
		panic(err)
	}
	return c
}

// start starts the program, and waits until the API answers.
func (n *node) start(t testing.TB) {
	t.Helper()
	if err := n.launch(); err != nil {
		t.Fatal(err)
	}
	if err := n.open(); err != nil {
		t.Fatal(err)
	}
}

// end ends what still runs, and is an error if the log tells of a fault of the program.
func (n *node) end() error {
	if n.process == nil {
		return nil
	}
	var err error
	if n.running() {
		err = n.stop()
	}
	return errors.Join(err, n.clean())
}

// newNode writes the configuration of a node in a temporary folder. The node is stopped with the test.
func newNode(t testing.TB, settings ...string) *node {
	t.Helper()
	return newNodeOf(t, built(t), settings...)
}

// newNodeOf is newNode with the programs in the folder bin.
func newNodeOf(t testing.TB, bin string, settings ...string) *node {
	t.Helper()
	n, err := configureNode(bin, t.TempDir(), settings...)
	if err == nil {
		err = n.write()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.end(); err != nil {
			t.Error(err)
		}
		if t.Failed() && n.process != nil {
			t.Logf("the node's log ends with\n%s", n.tail())
		}
	})
	return n
}

// startNode starts a new node, and waits until its API answers.
func startNode(t testing.TB, settings ...string) (*node, *api.Client) {
	t.Helper()
	n := newNode(t, settings...)
	n.start(t)
	c := n.client()
	t.Cleanup(c.Close)
	return n, c
}

// stkcli runs stkcli against the node, and returns what it printed. It must exit with 0.
func (n *node) stkcli(t testing.TB, args ...string) string {
	t.Helper()
	out, exit := n.tryStkcli(t, args...)
	if exit != 0 {
		t.Fatalf("stkcli %s: exit code %d\n%s", strings.Join(args, " "), exit, out)
	}
	return out
}

// tryStkcli is stkcli with any exit code, which it returns.
func (n *node) tryStkcli(t testing.TB, args ...string) (out string, exit int) {
	t.Helper()
	p, err := startProcess(n.dir, filepath.Join(t.TempDir(), "stkcli"), cleanEnv("HOME="+n.dir, "NODE_KEY="+n.psk,
		"STKCLI_NODE="+n.address(n.apiPort), "STKCLI_INSECURE=true"), filepath.Join(n.bin, "stkcli"), args...)
	if err != nil {
		t.Fatal(err)
	}
	<-p.ended
	return string(p.log()), p.cmd.ProcessState.ExitCode()
}

// ports are those given out; nodes of tests that run at the same time must not share any.
var ports struct {
	sync.Mutex
	taken map[int]bool
}

// freePorts returns ports of the loopback address that nothing listens on. They are below those that the system
// gives to outgoing connections, so that a node can be started again on the same ones.
func freePorts(count int) ([]int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.taken == nil {
		ports.taken = map[int]bool{}
	}
	var free []int
	for tries := 0; len(free) < count; tries++ {
		if tries > 1000 {
			return nil, errors.New("no free ports between 20000 and 30000")
		}
		port := 20000 + rand.IntN(10000)
		if ports.taken[port] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		_ = l.Close()
		ports.taken[port] = true
		free = append(free, port)
	}
	return free, nil
}
