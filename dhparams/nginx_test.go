package dhparams

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginx takes what is made here, and the prime is what its clients get. With STATIKO_SOAK=1 it is of the size that sites
// have, which takes longer to make.
func TestW20_MadeParametersServeOnTheWire(t *testing.T) {
	t.Parallel()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	dir := socketDir(t)
	bits, level := MinWeakBits, 1
	if os.Getenv("STATIKO_SOAK") == "1" {
		bits, level = MinBits, 2
	}
	p, err := Generate(t.Context(), Options{Bits: bits})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dh.pem"), []byte(p.PEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl(t, "", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=dh.test",
		"-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "cert.pem"))
	config := fmt.Sprintf(`daemon off; master_process off; worker_processes 1; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server {
		listen unix:%[1]s/s ssl; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
		ssl_protocols TLSv1.2; ssl_ciphers DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=%[2]d; ssl_dhparam %[1]s/dh.pem;
	}
}
`, dir, level)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), nginx, "-t", "-p", dir, "-c", file).CombinedOutput(); err != nil {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	startNginx(t, nginx, dir, file)
	// The dump of ServerKeyExchange has the prime and the generator, in bytes with blanks between.
	dump := openssl(t, "", "s_client", "-unix", filepath.Join(dir, "s"), "-tls1_2", "-cipher", fmt.Sprintf("DEFAULT:@SECLEVEL=%d", level), "-msg")
	shown := strings.ToUpper(strings.Join(strings.Fields(dump), ""))
	want := fmt.Sprintf("%04X%X0001020", len(p.P.Bytes()), p.P) // lengths of two bytes, p, g, then the length of the key
	if !strings.Contains(shown, want) {
		t.Errorf("the handshake does not have the prime:\n%s", dump)
	}
}

// socketDir is a folder whose path is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// startNginx runs nginx until the test ends, and waits until it listens.
func startNginx(t *testing.T, nginx, dir, file string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, nginx, "-p", dir, "-c", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { cancel(); <-done })
	until := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("unix", filepath.Join(dir, "s"))
		if err == nil {
			c.Close()
			return
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("nginx ended: %v\n%s", err, stderr.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(until) {
			t.Fatalf("nginx does not listen: %v", err)
		}
	}
}
