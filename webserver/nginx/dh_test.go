package nginx

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

	"statiko/dhparams"
)

// keyExchange is what openssl says of a handshake with a finite-field suite: the line with the prime's size, and the
// server's key exchange message in hexadecimal.
func keyExchange(t testing.TB, s *Server, name string) string {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	_, port, err := net.SplitHostPort(s.eng.address())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "s_client", "-connect", "127.0.0.1:"+port, "-servername", name, "-tls1_2",
		"-cipher", "DHE-RSA-AES256-GCM-SHA384", "-msg")
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	if !bytes.Contains(out, []byte("Cipher    : DHE-RSA-AES256-GCM-SHA384")) {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	_, message, ok := strings.Cut(string(out), "ServerKeyExchange\n")
	if !ok {
		t.Fatalf("no key exchange of the server in\n%s", out)
	}
	var hex strings.Builder
	for line := range strings.Lines(message) {
		if !strings.HasPrefix(line, "    ") {
			break
		}
		hex.WriteString(strings.ReplaceAll(strings.TrimSpace(line), " ", ""))
	}
	return hex.String()
}

// The group on the wire is the cluster's own, also after it was replaced; and W20: parameters that OpenSSL refuses, which
// stopped the web server, are not used.
func TestW20_DHParametersAreOnTheWire(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timeouts: Timeouts{Watch: 50 * time.Millisecond}})
	site := page(t, "rsa.test", "I am RSA")
	site.Certificate = newRSAPair(t, "rsa.test")
	apply(t, s, site)
	shows := func(p *dhparams.Params) error {
		if got := keyExchange(t, s, "rsa.test"); !strings.Contains(got, fmt.Sprintf("%x", p.P)) {
			return fmt.Errorf("the group on the wire is another: %.80s", got)
		}
		return nil
	}
	if err := shows(dhparams.Builtin(2048)); err != nil {
		t.Error(err)
	}
	// One that nobody has but this test would take minutes to find; a larger one tells as well.
	for _, own := range []*dhparams.Params{dhparams.Builtin(3072), clusterOwn(t)} {
		if err := s.SetDHParams(t.Context(), own.PEM()); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return shows(own) })
	}
	weak, err := dhparams.Parse(weakPEM)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDHParams(t.Context(), weak.PEM()); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("1024 bits: %v", err)
	}
	apply(t, s, page(t, "b.test", "I am b"))
	if err := shows(clusterOwn(t)); err != nil {
		t.Error(err)
	}
	// Files of parameters that are in use no more do not pile up for ever; those in use are there.
	if _, err := os.Stat(s.dh); err != nil || filepath.Dir(s.dh) != s.paths.dir {
		t.Errorf("%s: %v", s.dh, err)
	}
}

// clusterOwn is a group that "openssl dhparam 2048" made for this test.
func clusterOwn(t testing.TB) *dhparams.Params {
	t.Helper()
	p, err := dhparams.Parse(ownPEM)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
