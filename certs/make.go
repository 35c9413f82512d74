package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// Types of keys.
const (
	KeyECDSA   = "ecdsa"   // ECDSA on P-256
	KeyRSA2048 = "rsa2048" // RSA of 2048 bits
	KeyRSA4096 = "rsa4096" // RSA of 4096 bits: makes certificates a thousand times slower
)

// DefaultLife is how long a certificate lasts if nothing else is asked for.
const DefaultLife = 365 * 24 * time.Hour

// Organisation stands in the subject, and so in the issuer, of self-signed certificates.
const Organisation = "statiko self-signed"

// backdate is how long before its making a certificate becomes valid, for clients whose clocks are slow.
const backdate = time.Hour

// maxCommonName is the longest common name in bytes (RFC 5280, ub-common-name).
const maxCommonName = 64

// Request says what certificate to make.
type Request struct {
	// Names are the host names and IP addresses; the first is also the common name.
	Names []string
	// KeyType is one of the Key constants; "" is KeyECDSA.
	KeyType string
	// Life is how long the certificate lasts from Now; 0 is DefaultLife.
	Life time.Duration
	// Now is the time of the making; the zero value is the clock's.
	Now time.Time
}

// SelfSigned makes a new key and a certificate for it, signed with the key itself (RFC 5280): a server's certificate,
// not an authority's, with a random serial number of 128 bits, valid from an hour before Now. The key is PKCS #8, PEM
// block "PRIVATE KEY". Errors: no names, a name that cannot stand in a certificate, an unknown type of key.
func SelfSigned(r Request) (certPEM, keyPEM []byte, err error) {
	key, err := newKey(r.KeyType)
	if err != nil {
		return nil, nil, err
	}
	if certPEM, err = selfSign(key, r); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the key: %w", err)
	}
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// CheckKeyType says what is wrong with the name of a type of key; "" is right.
func CheckKeyType(t string) error {
	switch t {
	case "", KeyECDSA, KeyRSA2048, KeyRSA4096:
		return nil
	}
	return fmt.Errorf("%q is no type of key: use %s, %s or %s", t, KeyECDSA, KeyRSA2048, KeyRSA4096)
}

func newKey(keyType string) (crypto.Signer, error) {
	switch keyType {
	case "", KeyECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case KeyRSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case KeyRSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, CheckKeyType(keyType)
}

// selfSign makes a certificate for the key.
func selfSign(key crypto.Signer, r Request) ([]byte, error) {
	if len(r.Names) == 0 {
		return nil, errors.New("a certificate needs at least one name")
	}
	if r.Life == 0 {
		r.Life = DefaultLife
	}
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{Organisation}, CommonName: commonName(r.Names[0])},
		NotBefore:             r.Now.Add(-backdate).UTC(),
		NotAfter:              r.Now.Add(r.Life).UTC(),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if _, ok := key.(*rsa.PrivateKey); ok {
		t.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	for _, n := range r.Names {
		if n == "" {
			return nil, errors.New("a name of the certificate is empty")
		}
		if ip, err := netip.ParseAddr(strings.Trim(n, "[]")); err == nil {
			t.IPAddresses = append(t.IPAddresses, ip.WithZone("").AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for %s: %w", r.Names[0], err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der}), nil
}

// newSerial returns a positive random number of 128 bits: so many that no issuer ever uses one twice.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("random serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

// commonName cuts a name to what a subject can hold, between characters.
func commonName(n string) string {
	if len(n) <= maxCommonName {
		return n
	}
	n = n[:maxCommonName]
	for !utf8.ValidString(n) && len(n) > maxCommonName-utf8.UTFMax {
		n = n[:len(n)-1]
	}
	return n
}
