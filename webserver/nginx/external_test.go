package nginx

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/webserver"
)

// freeAddress is one at which nobody listens now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}

// foreign makes the configuration of an nginx that is not ours, and commands that drive it. It is ended with the test.
func foreign(t testing.TB) Options {
	t.Helper()
	needNginx(t)
	program, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(folder(t))
	config := filepath.Join(dir, "etc")
	if err := os.MkdirAll(filepath.Join(config, "conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(config, "nginx.conf")
	as := ""
	if os.Geteuid() == 0 {
		as = "user root;"
	}
	text := fmt.Sprintf("%s pid %s/pid; error_log %s/error.log; events {}\nhttp { default_type text/plain; access_log off; sendfile on; include %s/conf.d/*.conf; }\n", as, dir, dir, config)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run := program + " -e stderr -c " + conf + " -p " + dir
	t.Cleanup(func() {
		if out, err := exec.Command("/bin/sh", "-c", run+" -s stop").CombinedOutput(); err != nil {
			t.Errorf("stop nginx: %v %s", err, out)
		}
		eventually(t, func() error {
			for _, p := range processes() {
				if strings.Contains(p.title, conf) {
					return fmt.Errorf("%s goes on", p.title)
				}
			}
			return nil
		})
	})
	return Options{
		Dir: filepath.Join(dir, "nginx"), User: "root", ConfigPath: config,
		HTTPAddress: freeAddress(t), HTTPSAddress: freeAddress(t),
		Commands: Commands{
			// It leaves a daemon that has this shell's standard output and error.
			Start:  run,
			Reload: run + " -s reload",
			Status: "kill -0 $(cat " + dir + "/pid) 2>/dev/null && echo 1 || echo 0",
			Test:   run + " -t -q",
		},
		Timeouts: Timeouts{Watch: 100 * time.Millisecond, Between: time.Millisecond},
	}
}

// runExternal runs a server until the returned function is called.
func runExternal(t testing.TB, opt Options) (*Server, func()) {
	t.Helper()
	s, stop := launchUntil(t, opt)
	awaitServing(t, s)
	return s, stop
}

// Weakness W29: a start command that leaves a daemon attached to its output blocked for ever. W42: everything unknown in
// nginx's folder was deleted.
func TestW29_W42_ExternalNginx(t *testing.T) {
	t.Parallel()
	opt := foreign(t)
	other := filepath.Join(opt.ConfigPath, "conf.d", "other.conf")
	if err := os.WriteFile(other, []byte("# somebody else's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, stop := runExternal(t, opt)
	apply(t, s, page(t, "a.test", "I am a"))
	wantBody(t, s, "a.test", "/", "I am a")
	failed, err := tryApply(t, s, withManifest(page(t, "bad.test", "bad"), tooLarge(t)), page(t, "b.test", "I am b"))
	if err != nil || len(failed) != 1 || failed["bad.test"] == nil {
		t.Errorf("apply with a site that nginx refuses: %v %v", failed, err)
	}
	wantBody(t, s, "b.test", "/", "I am b")

	// The node is away: nginx serves on. It is back and nothing changes before all sites are known.
	address := s.eng.address()
	stop()
	if c, err := net.Dial("tcp", address); err != nil {
		t.Errorf("nginx was stopped with the node: %v", err)
	} else {
		_ = c.Close()
	}
	wantBody(t, s, "a.test", "/", "I am a")
	s, _ = runExternal(t, opt)
	wantBody(t, s, "a.test", "/", "I am a")
	apply(t, s, page(t, "a.test", "I am still a"), page(t, "b.test", "I am b"))
	wantBody(t, s, "a.test", "/", "I am still a")
	entries, err := os.ReadDir(filepath.Join(opt.ConfigPath, "conf.d"))
	if err != nil || len(entries) != 2 {
		t.Errorf("conf.d has %v, %v", entries, err)
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "# somebody else's\n" {
		t.Errorf("somebody else's file: %q %v", b, err)
	}

	// Somebody breaks the configuration elsewhere: that is an error which names the place, and no site's fault.
	if err := os.WriteFile(other, []byte("nonsense;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tryApply(t, s, page(t, "c.test", "I am c")); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("apply with a fault elsewhere: %v", err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	apply(t, s, page(t, "c.test", "I am c"))

	// It is stopped by somebody, and started again.
	b, err := os.ReadFile(filepath.Join(filepath.Dir(opt.Dir), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("/bin/sh", "-c", opt.Commands.Start+" -s stop").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	eventually(t, func() error { // until then it may yet answer
		for _, p := range processes() {
			if fmt.Sprint(p.id) == strings.TrimSpace(string(b)) {
				return fmt.Errorf("process %d goes on", p.id)
			}
		}
		return nil
	})
	eventually(t, func() error {
		_, body, err := get(s, "c.test", "/")
		if err == nil && body != "I am c" {
			err = fmt.Errorf("%q", body)
		}
		return err
	})
}

func TestExternal_SitesStayUntilItIsKnownThatThereAreNone(t *testing.T) {
	t.Parallel()
	opt := foreign(t)
	pair := newRSAPair(t, "node.test")
	certificate, err := tls.X509KeyPair(pair.CertificatePEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	opt.NodeCertificate = func() *tls.Certificate { return &certificate }
	s, stop := runExternal(t, opt)
	apply(t, s, page(t, "a.test", "I am a"))
	stop()
	known := make(chan struct{})
	opt.Complete = known
	s, _ = runExternal(t, opt)
	s.refresh(t.Context(), time.Now().Add(-time.Hour)) // however long it takes to hear of them
	wantBody(t, s, "a.test", "/", "I am a")
	close(known)
	awaitGone(t, s, "a.test")
}

// What workers say that an earlier process of the node started counts for nothing, and what it left is put back.
func TestExternal_AReloadThatDoesNothingIsNotBelieved(t *testing.T) {
	t.Parallel()
	opt := foreign(t)
	s, stop := runExternal(t, opt)
	a := page(t, "a.test", "I am a")
	apply(t, s, a)
	conf := s.eng.(*external).conf
	before, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	reload := opt.Commands.Reload
	opt.Commands.Reload, opt.Timeouts.Reload = "true", 500*time.Millisecond
	s, stop = runExternal(t, opt)
	if _, err := tryApply(t, s, a, page(t, "b.test", "I am b")); err == nil {
		t.Error("a reload that does nothing is believed")
	}
	if after, err := os.ReadFile(conf); err != nil || string(after) != string(before) {
		t.Errorf("the configuration is not that of before: %v", err)
	}
	stop()
	opt.Commands.Reload, opt.Timeouts.Reload = reload, 0
	s, _ = runExternal(t, opt)
	apply(t, s, a, page(t, "b.test", "I am b"))
	wantBody(t, s, "b.test", "/", "I am b")
}

// Commands that hang are killed with all that they started.
func TestW29_CommandsThatHangAreKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, command := range map[string]string{
		"itself": "exec sleep 1000", "child": "sleep 1000", "output held open": "sleep 1000 & wait",
	} {
		pid := filepath.Join(dir, name)
		cmd := exec.Command("/bin/sh", "-c", "echo $$ > '"+pid+"'; "+command)
		began := time.Now()
		_, err := run(t.Context(), 300*time.Millisecond, cmd, "the command")
		if err == nil || !strings.Contains(err.Error(), "did not end within 300ms and was killed") {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
	out, err := run(t.Context(), 20*time.Second, exec.Command("/bin/sh", "-c", "echo here; sleep 1000 & echo $! >&2"), "the command")
	if err != nil || out.stdout != "here\n" {
		t.Errorf("a command that leaves something running: %q %v", out.stdout, err)
	}
	if err := exec.Command("kill", strings.TrimSpace(out.stderr)).Run(); err != nil {
		t.Error(err)
	}
}

func withManifest(s *webserver.Site, m manifest) *webserver.Site {
	next := *s
	next.Manifest = m
	return &next
}
