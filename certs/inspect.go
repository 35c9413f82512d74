package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Info is what people want to know of a certificate.
type Info struct {
	// Names are the host names and addresses it is for.
	Names []string
	// Subject and Issuer are distinguished names (RFC 2253).
	Subject, Issuer string
	// Serial is hexadecimal.
	Serial string
	// NotBefore and NotAfter bound its validity.
	NotBefore, NotAfter time.Time
	// KeyType is such as "ECDSA P-256", "RSA 2048" or "Ed25519".
	KeyType string
	// SelfSigned tells that it is its own issuer.
	SelfSigned bool
	// ChainLength counts the certificates of the text, this one included.
	ChainLength int
	// Pin is that of its key; see [PinOf].
	Pin string
}

// Inspect reads a PEM text of certificates and tells about the first.
func Inspect(certPEM []byte) (Info, error) {
	chain, err := parseChain(certPEM)
	if err != nil {
		return Info{}, err
	}
	c := chain[0]
	return Info{
		Names: namesOf(c), Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: c.SerialNumber.Text(16),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, KeyType: keyTypeOf(c.PublicKey),
		SelfSigned: isSelfSigned(c), ChainLength: len(chain), Pin: PinOf(c),
	}, nil
}

func namesOf(c *x509.Certificate) []string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func isSelfSigned(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

func keyTypeOf(k crypto.PublicKey) string {
	switch k := k.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "unknown"
}

// pinPrefix begins the text of a pin.
const pinPrefix = "sha256/"

// PinOf returns the pin of a certificate's key: "sha256/" and the standard base64 of the SHA-256 of its
// SubjectPublicKeyInfo (the form of RFC 7469). It stays the same when the certificate is renewed with its key.
func PinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// KeyFingerprint returns the same digest as [PinOf] for people to compare: pairs of hexadecimal digits in upper case,
// joined by colons.
func KeyFingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	var b strings.Builder
	for i, x := range sum {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", x)
	}
	return b.String()
}

// ParsePin brings what a person typed, as [PinOf] or as [KeyFingerprint] (colons and blanks may be missing), into the
// form of PinOf.
func ParsePin(text string) (string, error) {
	text = strings.TrimSpace(text)
	var sum []byte
	var err error
	if b64, ok := strings.CutPrefix(text, pinPrefix); ok {
		sum, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(b64, "="))
	} else {
		sum, err = hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(text))
	}
	if err != nil || len(sum) != sha256.Size {
		return "", errors.New(`is not the fingerprint of a key: "sha256/" and 44 characters, or 64 hexadecimal digits`)
	}
	return pinPrefix + base64.StdEncoding.EncodeToString(sum), nil
}
