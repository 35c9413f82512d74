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
	must(t, err)
	_, rest, found := strings.Cut(string(text), "<!-- "+name+":begin -->\n```\n")
	config, _, ended := strings.Cut(rest, "```\n<!-- "+name+":end -->")
	if !found || !ended {
		t.Fatalf("docs/load-balancing.md has no configuration of %s", name)
	}
	return config
}

// configure puts the addresses of a test in place of the documented ones, of which each has to be there.
func (b *balancer) configure(t testing.TB, config string, nodes []*node) string {
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
			check = fmt.Sprintf(" port %d", n.apiPort)
		}
		replace(fmt.Sprintf("10.0.0.1%d:80", i+1), n.address(n.httpPort)+check)
		replace(fmt.Sprintf("10.0.0.1%d:443", i+1), n.address(n.httpsPort)+check)
	}
	if b.name == "haproxy" {
		replace("bind :80\n", "bind "+nodes[0].address(b.http)+"\n")
		replace("bind :443\n", "bind "+nodes[0].address(b.https)+"\n")
	} else {
		replace("listen 80;", "listen "+nodes[0].address(b.http)+";")
		replace("listen 443;", "listen "+nodes[0].address(b.https)+";")
	}
	return config
}

// startBalancer starts haproxy or nginx before the nodes. It ends with the test.
func startBalancer(t testing.TB, name string, nodes []*node) *balancer {
	t.Helper()
	ports, err := freePorts(2)
	must(t, err)
	b := &balancer{name: name, http: ports[0], https: ports[1], sendsToTheReady: name == "haproxy"}
	program, dir := balancerProgram(t, name), t.TempDir()
	file := filepath.Join(dir, "config")
	must(t, os.WriteFile(file, []byte(b.configure(t, documented(t, name), nodes)), 0o600))
	args := []string{"-db", "-f", file}
	if name == "nginx" {
		args = []string{"-e", "stderr", "-c", file, "-g", "daemon off; pid " + filepath.Join(dir, "pid") + ";"}
	}
	p, err := startProcess(dir, filepath.Join(dir, "log"), cleanEnv(), program, args...)
	must(t, err)
	t.Cleanup(func() {
		p.terminate() // nginx's workers would outlive its master if that were killed
		if t.Failed() {
			t.Logf("%s says\n%s", name, p.tail())
		}
	})
	must(t, poll(startTimeout, name+" reaches a node", func() error {
		if !p.running() {
			return final{fmt.Errorf("it ended: %w\n%s", p.err, p.tail())}
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
func (b *balancer) sendsTo(n *node, want bool) error {
	return poll(startTimeout, fmt.Sprintf("%s sends visitors to %s: %t", b.name, n.name(), want), func() error {
		for range 20 {
			name, err := b.whoAnswers()
			if err != nil {
				return err
			}
			if name == n.name() {
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
		for _, n := range c.nodes {
			n.kill() // nobody has to notice any more
		}
	})
	addSite(t, apiOf(t, c.nodes[0]), visitedSite)
	c.serves(t, 10*time.Second, visitedSite)
	var all []*balancer
	for _, name := range []string{"haproxy", "nginx"} {
		b := startBalancer(t, name, c.nodes)
		for _, n := range c.nodes {
			must(t, b.sendsTo(n, true))
		}
		b.load = visitThrough(t, b)
		all = append(all, b)
	}
	answered := func(count int) {
		t.Helper()
		for _, b := range all {
			must(t, b.load.more(count))
		}
	}
	each := func(n *node, want bool) {
		t.Helper()
		for _, b := range all {
			if want || b.sendsToTheReady {
				must(t, b.sendsTo(n, want))
			}
		}
	}
	answered(50)

	killed, drained, restarted := c.nodes[0], c.nodes[1], c.nodes[2]
	kill := span{from: time.Now()}
	killed.kill()
	kill.to = time.Now()
	each(killed, false)
	answered(100)
	killed.start(t)
	each(killed, true)

	drained.stkcli(t, "node", "drain")
	each(drained, false)
	answered(50)
	stops := []span{{from: time.Now()}}
	must(t, drained.stop())
	stops[0].to = time.Now()
	answered(50)
	drained.start(t)
	each(drained, true)

	stops = append(stops, span{from: time.Now()})
	must(t, restarted.stop())
	stops[1].to = time.Now()
	answered(50)
	restarted.start(t)
	each(restarted, true)
	answered(50)

	for _, b := range all {
		b.load.stop()
		b.load.judge(t, kill, stops, b.sendsToTheReady)
	}
}
