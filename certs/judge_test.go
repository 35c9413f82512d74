package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// issue makes a certificate as an authority would.
func issue(t testing.TB, key crypto.Signer, change func(*x509.Certificate), parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, []byte) {
	t.Helper()
	serial, err := newSerial()
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"example.org", "*.example.org"},
		NotBefore: testNow.Add(-24 * time.Hour), NotAfter: testNow.Add(90 * 24 * time.Hour), BasicConstraintsValid: true,
	}
	if change != nil {
		change(c)
	}
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der})
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keyPEM(t testing.TB, k any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func ca(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject, c.DNSNames = pkix.Name{CommonName: name}, nil
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	}
}

// W18: a key that is not the certificate's stopped every later reload of the web server.
func TestW18_KeyOfAnotherCertificateIsFatal(t *testing.T) {
	t.Parallel()
	cert, _ := mustSelfSigned(t, Request{Names: []string{"example.org"}, Now: testNow})
	_, key := mustSelfSigned(t, Request{Names: []string{"example.org"}, Now: testNow})
	ps := Judge(cert, key, []string{"example.org"}, testNow)
	if len(ps) != 1 || ps[0].Code != ProblemMismatch || !Fatal(ps) {
		t.Errorf("%v", ps)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	rootKey, interKey, leafKey, otherKey := ecKey(t), ecKey(t), ecKey(t), ecKey(t)
	root, rootPEM := issue(t, rootKey, ca("root"), nil, nil)
	inter, interPEM := issue(t, interKey, ca("inter"), root, rootKey)
	_, leafPEM := issue(t, leafKey, nil, inter, interKey)
	// An authority with the right name and another key.
	impostor, impostorPEM := issue(t, otherKey, ca("inter"), root, rootKey)
	_ = impostor
	_, expiredPEM := issue(t, leafKey, func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Hour) }, inter, interKey)
	_, soonPEM := issue(t, leafKey, func(c *x509.Certificate) { c.NotAfter = testNow.Add(11 * time.Hour) }, inter, interKey)
	_, futurePEM := issue(t, leafKey, func(c *x509.Certificate) { c.NotBefore = testNow.Add(time.Hour) }, inter, interKey)
	_, noSANPEM := issue(t, leafKey, func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "example.org" }, inter, interKey)
	_, oldInterPEM := issue(t, interKey, func(c *x509.Certificate) { ca("inter")(c); c.NotAfter = testNow.Add(-time.Hour) }, root, rootKey)
	weak := weakRSA(t)
	_, weakPEM := issue(t, weak, nil, inter, interKey)

	join := func(ps ...[]byte) []byte { return bytes.Join(ps, []byte("some text\n")) }
	good, key := join(leafPEM, interPEM, rootPEM), keyPEM(t, leafKey)
	names := []string{"example.org", "www.example.org"}
	sec1, err := x509.MarshalECPrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(label string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
	}
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	for _, c := range []struct {
		name      string
		cert, key []byte
		names     []string
		want      string
	}{
		{"good chain, wildcard", good, key, names, ""},
		{"names not known yet", good, key, nil, ""},
		{"leaf alone", leafPEM, key, names, ""},
		{"windows line ends", bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), key, names, ""},
		{"SEC 1 key", good, block("EC PRIVATE KEY", sec1), names, ""},
		{"SEC 1 key with wrong label, as the earlier program wrote", good, block("PRIVATE KEY", sec1), names, ""},
		{"key after its parameters", good, append(block("EC PARAMETERS", []byte{6, 8}), key...), names, ""},

		{"empty", nil, nil, names, "certificate_unreadable! key_unreadable!"},
		{"junk", []byte("junk"), []byte("junk"), names, "certificate_unreadable! key_unreadable!"},
		{"swapped", key, good, names, "certificate_unreadable! key_unreadable!"},
		{"key within the certificates", join(leafPEM, key), key, names, "certificate_unreadable!"},
		{"DER is junk", block(blockCertificate, []byte("junk")), block("PRIVATE KEY", []byte("junk")), nil, "certificate_unreadable! key_unreadable!"},
		{"trailing bytes in a certificate", block(blockCertificate, append(bytes.Clone(root.Raw), 0)), key, nil, "certificate_unreadable!"},
		{"chain cut off", join(leafPEM, cut(interPEM)), key, names, "certificate_unreadable!"},
		{"key cut off", good, cut(key), names, "key_unreadable!"},
		{"two keys", good, append(bytes.Clone(key), keyPEM(t, otherKey)...), names, "key_unreadable!"},
		{"encrypted key", good, block("ENCRYPTED PRIVATE KEY", []byte{1}), names, "key_unreadable!"},
		{"public key", good, block("PUBLIC KEY", []byte{1}), names, "key_unreadable!"},

		{"W18: key of another certificate", good, keyPEM(t, otherKey), names, "key_mismatch!"},
		{"chain upside down", join(interPEM, leafPEM), key, nil, "key_mismatch! chain_order"},
		{"intermediate left out", join(leafPEM, rootPEM), key, names, "chain_order"},
		{"intermediate with the same name did not sign", join(leafPEM, impostorPEM), key, names, "chain_broken"},
		{"intermediate expired", join(leafPEM, oldInterPEM), key, names, "chain_expired"},
		{"leaf twice", join(leafPEM, leafPEM), key, names, "chain_order"},

		{"expired", expiredPEM, key, names, "expired"},
		{"expires within 12 hours", soonPEM, key, names, "expires_soon"},
		{"not valid yet", futurePEM, key, names, "not_yet_valid"},
		{"wrong names", good, key, []string{"example.org", "other.test", "a.b.example.org"}, "names_not_covered"},
		{"common name alone", noSANPEM, key, []string{"example.org"}, "names_not_covered"},
		{"RSA of 1024 bits", weakPEM, keyPEM(t, weak), names, "weak_key!"},
		{"everything at once", join(expiredPEM, impostorPEM), keyPEM(t, otherKey), []string{"x.test"}, "key_mismatch! expired names_not_covered chain_broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ps := Judge(c.cert, c.key, c.names, testNow)
			var got []string
			fatal := false
			for _, p := range ps {
				code := p.Code
				if p.Fatal {
					code, fatal = code+"!", true
				}
				if p.Text == "" || strings.Contains(p.Text, "\n") {
					t.Errorf("%s: text %q", p.Code, p.Text)
				}
				got = append(got, code)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %q, want %q: %v", s, c.want, ps)
			}
			if Fatal(ps) != fatal {
				t.Error("Fatal disagrees")
			}
		})
	}
}

// weakRSA returns a key of 1024 bits, which Go no longer generates by itself.
func weakRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	one := big.NewInt(1)
	for {
		p, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			t.Fatal(err)
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(big.NewInt(65537), phi)
		if d == nil || p.Cmp(q) == 0 {
			continue
		}
		k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, D: d, Primes: []*big.Int{p, q}}
		k.Precompute()
		return k
	}
}
