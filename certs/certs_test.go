package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testNow = time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC)

func mustSelfSigned(t testing.TB, r Request) (cert, key []byte) {
	t.Helper()
	cert, key, err := SelfSigned(r)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func leafOf(t testing.TB, certPEM []byte) *x509.Certificate {
	t.Helper()
	chain, err := parseChain(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return chain[0]
}

func TestSelfSigned_Fields(t *testing.T) {
	t.Parallel()
	for _, keyType := range []string{"", KeyECDSA, KeyRSA2048} {
		names := []string{strings.Repeat("a", 60) + ".example.org", "www.example.org", "127.0.0.1", "::1"}
		cert, key := mustSelfSigned(t, Request{Names: names, KeyType: keyType, Now: testNow})
		c := leafOf(t, cert)
		info, err := Inspect(cert)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(info.Names, names) || info.ChainLength != 1 || !info.SelfSigned {
			t.Errorf("%q: %+v", keyType, info)
		}
		if c.Subject.CommonName != names[0][:64] || !slices.Equal(c.Subject.Organization, []string{"statiko self-signed"}) {
			t.Errorf("subject %v", c.Subject)
		}
		if c.IsCA || !c.BasicConstraintsValid || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
			t.Errorf("CA %v, usages %v", c.IsCA, c.ExtKeyUsage)
		}
		usage, typeName := x509.KeyUsageDigitalSignature, "ECDSA P-256"
		if keyType == KeyRSA2048 {
			usage, typeName = usage|x509.KeyUsageKeyEncipherment, "RSA 2048"
		}
		if c.KeyUsage != usage || info.KeyType != typeName {
			t.Errorf("%q: usage %v, key %s", keyType, c.KeyUsage, info.KeyType)
		}
		if !c.NotBefore.Equal(testNow.Add(-time.Hour)) || !c.NotAfter.Equal(testNow.Add(DefaultLife)) {
			t.Errorf("valid from %v to %v", c.NotBefore, c.NotAfter)
		}
		if !bytes.HasPrefix(key, []byte("-----BEGIN PRIVATE KEY-----\n")) {
			t.Errorf("the key is not PKCS #8")
		}
		if ps := Judge(cert, key, names, testNow); len(ps) != 0 {
			t.Errorf("%q: %v", keyType, ps)
		}
	}
}

func TestSelfSigned_RSA4096(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	cert, _ := mustSelfSigned(t, Request{Names: []string{"example.org"}, KeyType: KeyRSA4096})
	if info, _ := Inspect(cert); info.KeyType != "RSA 4096" {
		t.Errorf("%+v", info)
	}
}

func TestSelfSigned_Refuses(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Request{
		"no names":     {},
		"empty name":   {Names: []string{"a.example", ""}},
		"not ASCII":    {Names: []string{"bücher.example"}},
		"unknown type": {Names: []string{"a.example"}, KeyType: "dsa"},
	} {
		if _, _, err := SelfSigned(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// W55: browsers refuse a second certificate with issuer and serial number of another.
func TestW55_SerialNumbersAreNeverReused(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 300 {
		cert, _ := mustSelfSigned(t, Request{Names: []string{"example.org"}})
		c := leafOf(t, cert)
		if id := c.Issuer.String() + c.SerialNumber.String(); seen[id] {
			t.Fatalf("%s twice", id)
		} else {
			seen[id] = true
		}
		if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() > 159 {
			t.Fatalf("serial number %v is no positive number of at most 20 bytes", c.SerialNumber)
		}
		if n := c.SerialNumber.BitLen(); n < 64 {
			t.Fatalf("a serial number of %d bits is not random", n)
		}
	}
}

func TestSelfSigned_OpenSSLReadsIt(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	for _, keyType := range []string{KeyECDSA, KeyRSA2048} {
		cert, key := mustSelfSigned(t, Request{Names: []string{"example.org", "www.example.org"}, KeyType: keyType})
		dir := t.TempDir()
		for name, data := range map[string][]byte{"c.pem": cert, "k.pem": key} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run := func(args ...string) string {
			c := exec.Command(openssl, args...)
			c.Dir = dir
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("openssl %v: %v\n%s", args, err, out)
			}
			return string(out)
		}
		run("verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "www.example.org", "-CAfile", "c.pem", "c.pem")
		if a, b := run("x509", "-in", "c.pem", "-noout", "-pubkey"), run("pkey", "-in", "k.pem", "-pubout"); a != b {
			t.Errorf("%s: openssl sees another key", keyType)
		}
		text := run("x509", "-in", "c.pem", "-noout", "-text")
		for _, want := range []string{"CA:FALSE", "DNS:example.org, DNS:www.example.org", "TLS Web Server Authentication"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", keyType, want, text)
			}
		}
	}
}

func TestSelfSigned_NginxLoadsIt(t *testing.T) {
	t.Parallel()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	for _, keyType := range []string{KeyECDSA, KeyRSA2048} {
		cert, key := mustSelfSigned(t, Request{Names: []string{"example.org"}, KeyType: keyType})
		dir := t.TempDir()
		conf := fmt.Sprintf(`pid %[1]s/pid; error_log stderr; events {}
http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen unix:%[1]s/socket ssl; ssl_certificate %[1]s/c.pem; ssl_certificate_key %[1]s/k.pem; } }`, dir)
		for name, data := range map[string][]byte{"c.pem": cert, "k.pem": key, "nginx.conf": []byte(conf)} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command(nginx, "-t", "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf")).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", keyType, err, out)
		}
	}
}

func TestSelfSigned_Handshake(t *testing.T) {
	t.Parallel()
	cert, key := mustSelfSigned(t, Request{Names: []string{"example.org"}})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(c, "hello")
			c.Close()
		}
		done <- err
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.org"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); string(got) != "hello" {
		t.Fatal(string(got), err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestInspect_Unreadable(t *testing.T) {
	t.Parallel()
	if _, err := Inspect([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")); err == nil {
		t.Error("an empty certificate was read")
	}
}

func TestPin(t *testing.T) {
	t.Parallel()
	cert, _ := mustSelfSigned(t, Request{Names: []string{"example.org"}})
	other, _ := mustSelfSigned(t, Request{Names: []string{"example.org"}})
	c := leafOf(t, cert)
	pin, print := PinOf(c), KeyFingerprint(c)
	if pin == PinOf(leafOf(t, other)) {
		t.Error("two keys, one pin")
	}
	for _, text := range []string{pin, " " + pin + "\n", strings.TrimRight(pin, "="), print, strings.ToLower(print), strings.ReplaceAll(print, ":", ""), strings.ReplaceAll(print, ":", " ")} {
		if got, err := ParsePin(text); err != nil || got != pin {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "sha256/", pin[:20], print[:60], "sha1/" + pin[7:], print + ":00"} {
		if got, err := ParsePin(text); err == nil {
			t.Errorf("%q is taken as %q", text, got)
		}
	}
}

func TestPair_NeverPrintsItsKey(t *testing.T) {
	t.Parallel()
	cert, key := mustSelfSigned(t, Request{Names: []string{"example.org"}})
	p, err := newPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%v %+v %#v %s %x", p, &p, p, p, p)
	if strings.Contains(got, "PRIVATE") || !strings.Contains(got, "example.org") || len(got) > 200 {
		t.Error(got)
	}
}

func FuzzCertificateText(f *testing.F) {
	cert, key := mustSelfSigned(f, Request{Names: []string{"example.org"}})
	f.Add(cert, key)
	f.Add(key, cert)
	f.Add(append(bytes.Clone(cert), cert[:100]...), key[:100])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		ps := Judge(cert, key, []string{"example.org"}, testNow)
		_, err := Inspect(cert)
		if unreadable := slices.ContainsFunc(ps, func(p Problem) bool { return p.Code == ProblemCertificate }); unreadable != (err != nil) {
			t.Fatalf("Inspect %v, Judge %v", err, ps)
		}
		if !Fatal(ps) {
			if _, err := tls.X509KeyPair(cert, key); err != nil {
				t.Fatalf("judged as good, but crypto/tls says %v", err)
			}
		}
	})
}
