package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/config"
	"statiko/test/programs"
)

// StartTimeout is how long a node may take until its API answers, on a busy machine with the race detector.
const StartTimeout = 30 * time.Second

// Node is a node's program with a folder and a configuration of its own. It can be started again and again.
type Node struct {
	// Bin is the folder of the programs, Dir that of the node.
	Bin, Dir string
	// Settings are the configuration, by key.
	Settings                     map[string]string
	APIPort, HTTPPort, HTTPSPort int
	PSK                          string
	// Env is added to the environment of the program.
	Env []string
	// Links are the lines to the members of etcd, if the cluster has any; see [Options].
	Links Links
	// Disk is the folder of the node's own disk; "" without; see [Node.UseDisk].
	Disk string
	// after is done when the node has ended for good, the last one first.
	after []func()
	// Starts counts how often the program was started.
	Starts int
	// Process is nil before the first start.
	*Process
}

// Configure prepares a node in dir without writing anything. Settings are "key=value" with keys as in the
// configuration; an empty value takes a setting away.
func Configure(bin, dir string, settings ...string) (*Node, error) {
	ports, err := programs.FreePorts(3)
	if err != nil {
		return nil, err
	}
	n := &Node{Bin: bin, Dir: dir, PSK: config.NewPSK(), APIPort: ports[0], HTTPPort: ports[1], HTTPSPort: ports[2]}
	n.Settings = map[string]string{
		"nodeName": "edge-1", "port": strconv.Itoa(n.APIPort), "bindAddress": "127.0.0.1", "appRoot": filepath.Join(dir, "data"),
		"auth.psk.enabled": "true", "auth.psk.key": n.PSK, "secretsEncryptionKey": config.NewEncryptionKey(),
		"state.store": "file", "state.file.path": filepath.Join(dir, "state.json"),
		"repo.type": "local", "repo.local.path": filepath.Join(dir, "repo"),
		"web.httpAddress": n.Address(n.HTTPPort), "web.httpsAddress": n.Address(n.HTTPSPort),
		"web.publicHttpsPort":  strconv.Itoa(n.HTTPSPort),
		"tls.node.certificate": filepath.Join(dir, "node.crt"), "tls.node.key": filepath.Join(dir, "node.key"),
		"log.format": "json", "tls.dhparams.generate": "never", "drainDelay": "0", // no load balancer has to notice
	}
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("setting %q has no =", s)
		}
		n.Settings[key] = value
		if value == "" {
			delete(n.Settings, key)
		}
	}
	n.PSK = n.Settings["auth.psk.key"]
	return n, nil
}

// Name returns the node's name.
func (n *Node) Name() string { return n.Settings["nodeName"] }

// Address returns a port with the loopback address.
func (n *Node) Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// ConfigFile returns the path of the configuration.
func (n *Node) ConfigFile() string { return filepath.Join(n.Dir, "node-config.yaml") }

// Write writes the configuration.
func (n *Node) Write() error { return n.WriteTo(n.ConfigFile()) }

// WriteTo writes the configuration to a file.
func (n *Node) WriteTo(path string) error {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(n.Settings)) {
		fmt.Fprintf(&text, "%s: %s\n", key, strconv.Quote(n.Settings[key]))
	}
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o600)
}

// Launch starts the program, and does not wait.
func (n *Node) Launch() (err error) {
	n.Starts++
	n.Process, err = StartProcess(n.Dir, filepath.Join(n.Dir, "log"), CleanEnv(append([]string{"HOME=" + n.Dir, "GO_ENV=production"}, n.Env...)...),
		filepath.Join(n.Bin, "statiko"), "--config", n.ConfigFile())
	return err
}

// Answers is an error if the API does not answer now, a final one if the program has ended.
func (n *Node) Answers(ctx context.Context) error {
	if !n.Running() {
		return NoUse(fmt.Errorf("the node ended: %w\n%s", n.Err, n.Tail()))
	}
	c := n.Client()
	defer c.Close()
	_, err := c.Info(ctx)
	return err
}

// Open waits until the API answers.
func (n *Node) Open() error {
	return Poll(StartTimeout, "wait for the API", func() error { return n.Answers(context.Background()) })
}

// Start starts the program, and waits until the API answers.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	Must(t, n.Launch())
	Must(t, n.Open())
}

// Settled waits until the newest state is applied.
func (n *Node) Settled() error {
	c := n.Client()
	defer c.Close()
	return Poll(StartTimeout, "wait until the state is applied", func() error {
		if !n.Running() {
			return NoUse(fmt.Errorf("the node ended: %w\n%s", n.Err, n.Tail()))
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

// Healthy waits until the node says that the state can be changed.
func (n *Node) Healthy() error {
	c := n.Client()
	defer c.Close()
	return Poll(StartTimeout, n.Name()+" takes changes", func() error {
		s, err := c.Status(context.Background(), "", false)
		if err != nil {
			return err
		}
		if !s.Store.Healthy {
			return fmt.Errorf("the store is not healthy: %s", s.Store.Reason)
		}
		return nil
	})
}

// Client returns a client that trusts whoever answers; pins are tested with stkcli.
func (n *Node) Client() *api.Client { return n.PatientClient(time.Minute) }

// PatientClient is Client with another time for each call.
func (n *Node) PatientClient(timeout time.Duration) *api.Client {
	c, err := api.New(api.Options{Node: "127.0.0.1", Port: n.APIPort, Token: n.PSK, Insecure: true, Timeout: timeout})
	if err != nil {
		// Only options that the caller chose can be wrong.
		panic(err)
	}
	return c
}

// API returns a client of the node that ends with the test.
func (n *Node) API(t testing.TB) *api.Client {
	c := n.Client()
	t.Cleanup(c.Close)
	return c
}

// Sites returns the domains of the sites that the node has, in order.
func (n *Node) Sites() ([]string, error) {
	c := n.Client()
	defer c.Close()
	sites, err := c.Sites(context.Background())
	var list []string
	for _, s := range sites {
		list = append(list, s.Domain)
	}
	slices.Sort(list)
	return list, err
}

// End ends what still runs, and is an error if the log tells of a fault of the program.
func (n *Node) End() error {
	if n.Process == nil {
		return nil
	}
	var err error
	if n.Running() {
		err = n.Stop()
	}
	return errors.Join(err, n.Clean())
}

// NewNode writes the configuration of a node in a temporary folder. The node is stopped with the test.
func NewNode(t testing.TB, bin string, settings ...string) *Node {
	t.Helper()
	n, err := Configure(bin, t.TempDir(), settings...)
	if err == nil {
		err = n.Write()
	}
	Must(t, err)
	t.Cleanup(func() {
		if err := n.End(); err != nil {
			t.Error(err)
		}
		if t.Failed() && n.Process != nil {
			t.Logf("the log of %s ends with\n%s", n.Name(), n.Tail())
		}
		for _, do := range slices.Backward(n.after) {
			do()
		}
	})
	return n
}

// Stkcli runs stkcli against the node, and returns what it printed. It must exit with 0.
func (n *Node) Stkcli(t testing.TB, args ...string) string {
	t.Helper()
	out, exit := n.TryStkcli(t, args...)
	if exit != 0 {
		t.Fatalf("stkcli %s: exit code %d\n%s", strings.Join(args, " "), exit, out)
	}
	return out
}

// TryStkcli is Stkcli with any exit code, which it returns.
func (n *Node) TryStkcli(t testing.TB, args ...string) (out string, exit int) {
	t.Helper()
	p, err := StartProcess(n.Dir, filepath.Join(t.TempDir(), "stkcli"), CleanEnv("HOME="+n.Dir, "NODE_KEY="+n.PSK,
		"STKCLI_NODE="+n.Address(n.APIPort), "STKCLI_INSECURE=true"), filepath.Join(n.Bin, "stkcli"), args...)
	Must(t, err)
	<-p.Ended
	return string(p.Log()), p.Cmd.ProcessState.ExitCode()
}
