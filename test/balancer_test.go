package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/test/cluster"
	"statiko/test/programs"
)

// balancer is a load balancer in front of a cluster, configured as docs/load-balancing.md says.
type balancer struct {
	name            string
	http, https     int
	load            *visitors
	sendsToTheReady bool // it asks nodes whether they are ready
}

// balancerProgram returns the path of a program that CI has and a desk may lack.
func balancerProgram(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("there is no %s; .ci/run installs it", name)
	}
	t.Skipf("there is no %s: install it to run this test", name)
	return ""
}

// documented returns the configuration between the marks of that name in docs/load-balancing.md.
func documented(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/load-balancing.md")
	cluster.Must(t, err)
	_, rest, found := strings.Cut(string(text), "<!-- "+name+":begin -->\n```\n")
	config, _, ended := strings.Cut(rest, "```\n<!-- "+name+":end -->")
	if !found || !ended {
		t.Fatalf("docs/load-balancing.md has no configuration of %s", name)
	}
	return config
}

// configure puts the addresses of a test in place of the documented ones, of which each has to be there.
func (b *balancer) configure(t testing.TB, config string, nodes []*cluster.Node) string {
	t.Helper()
	replace := func(from, to string) {
		t.Helper()
		if !strings.Contains(config, from) {
			t.Fatalf("the documented configuration of %s has no %q", b.name, from)
		}
		config = strings.ReplaceAll(config, from, to)
	}
	for i, n := range nodes {
		check := ""
		if b.name == "haproxy" { // all nodes have one address here, so their APIs have other ports
			check = fmt.Sprintf(" port %d", n.APIPort)
		}
		replace(fmt.Sprintf("10.0.0.1%d:80", i+1), n.Address(n.HTTPPort)+check)
		replace(fmt.Sprintf("10.0.0.1%d:443", i+1), n.Address(n.HTTPSPort)+check)
	}
	if b.name == "haproxy" {
		replace("bind :80\n", "bind "+nodes[0].Address(b.http)+"\n")
		replace("bind :443\n", "bind "+nodes[0].Address(b.https)+"\n")
	} else {
		replace("listen 80;", "listen "+nodes[0].Address(b.http)+";")
		replace("listen 443;", "listen "+nodes[0].Address(b.https)+";")
	}
	return config
}

// startBalancer starts haproxy or nginx before the nodes. It ends with the test.
func startBalancer(t testing.TB, name string, nodes []*cluster.Node) *balancer {
	t.Helper()
	ports, err := programs.FreePorts(2)
	cluster.Must(t, err)
	b := &balancer{name: name, http: ports[0], https: ports[1], sendsToTheReady: name == "haproxy"}
	program, dir := balancerProgram(t, name), t.TempDir()
	file := filepath.Join(dir, "config")
	cluster.Must(t, os.WriteFile(file, []byte(b.configure(t, documented(t, name), nodes)), 0o600))
	args := []string{"-db", "-f", file}
	if name == "nginx" {
		args = []string{"-e", "stderr", "-c", file, "-g", "daemon off; pid " + filepath.Join(dir, "pid") + ";"}
	}
	p, err := cluster.StartProcess(dir, filepath.Join(dir, "log"), cluster.CleanEnv(), program, args...)
	cluster.Must(t, err)
	t.Cleanup(func() {
		p.Terminate() // nginx's workers would outlive its master if that were killed
		if t.Failed() {
			t.Logf("%s says\n%s", name, p.Tail())
		}
	})
	cluster.Must(t, cluster.Poll(cluster.StartTimeout, name+" reaches a node", func() error {
		if !p.Running() {
			return cluster.NoUse(fmt.Errorf("it ended: %w\n%s", p.Err, p.Tail()))
		}
		_, err := b.whoAnswers()
		return err
	}))
	return b
}

// whoAnswers returns the name of the node that a new connection through the balancer reaches.
func (b *balancer) whoAnswers() (string, error) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", b.http))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp.Header.Get("X-STK-Node"), nil
}

// sendsTo waits until the balancer sends visitors to the node, or no more.
func (b *balancer) sendsTo(n *cluster.Node, want bool) error {
	return cluster.Poll(cluster.StartTimeout, fmt.Sprintf("%s sends visitors to %s: %t", b.name, n.Name(), want), func() error {
		for range 20 {
			name, err := b.whoAnswers()
			if err != nil {
				return err
			}
			if name == n.Name() {
				if want {
					return nil
				}
				return fmt.Errorf("%s answered", name)
			}
		}
		if want {
			return fmt.Errorf("20 times others answered")
		}
		return nil
	})
}

// Behind load balancers that are configured as documented, nodes are killed, drained and restarted under load. Through
// HAProxy no request fails but those that the killed node was answering; through nginx, which does not ask nodes how
// they are, also few in the moment in which a node stops listening.
func TestBalancer_NodesComeAndGoUnderLoad(t *testing.T) {
	t.Parallel()
	balancerProgram(t, "haproxy")
	balancerProgram(t, "nginx")
	c := startCluster(t, builtFast(t), 3, "drainDelay=4")
	t.Cleanup(func() {
		for _, n := range c.Nodes {
			n.Kill() // nobody has to notice any more
		}
	})
	addSite(t, c.Nodes[0].API(t), visitedSite)
	c.Serves(t, 10*time.Second, visitedSite)
	var all []*balancer
	for _, name := range []string{"haproxy", "nginx"} {
		b := startBalancer(t, name, c.Nodes)
		for _, n := range c.Nodes {
			cluster.Must(t, b.sendsTo(n, true))
		}
		b.load = visitThrough(t, b)
		all = append(all, b)
	}
	answered := func(count int) {
		t.Helper()
		for _, b := range all {
			cluster.Must(t, b.load.more(count))
		}
	}
	each := func(n *cluster.Node, want bool) {
		t.Helper()
		for _, b := range all {
			if want || b.sendsToTheReady {
				cluster.Must(t, b.sendsTo(n, want))
			}
		}
	}
	answered(50)

	killed, drained, restarted := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	kill := span{from: time.Now()}
	killed.Kill()
	kill.to = time.Now()
	each(killed, false)
	answered(100)
	killed.Start(t)
	each(killed, true)

	drained.Stkcli(t, "node", "drain")
	each(drained, false)
	answered(50)
	stops := []span{{from: time.Now()}}
	cluster.Must(t, drained.Stop())
	stops[0].to = time.Now()
	answered(50)
	drained.Start(t)
	each(drained, true)

	stops = append(stops, span{from: time.Now()})
	cluster.Must(t, restarted.Stop())
	stops[1].to = time.Now()
	answered(50)
	restarted.Start(t)
	each(restarted, true)
	answered(50)

	for _, b := range all {
		b.load.stop()
		b.load.judge(t, kill, stops, b.sendsToTheReady)
	}
}
