package cli

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"strings"
)

// signer signs bundles.
type signer struct{ key *rsa.PrivateKey }

// loadSigner reads a signing key, given as PEM text or as the path of a PEM file; nil if none is given. It is called
// before anything is sent.
func loadSigner(given string) (*signer, error) {
	if given == "" {
		return nil, nil
	}
	text, from := []byte(given), "the signing key"
	if !strings.Contains(given, "-----BEGIN ") {
		var err error
		if text, err = os.ReadFile(given); err != nil {
			return nil, userError("--signing-key: %v", err)
		}
		from = "the signing key in " + given
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, userError("%s is no PEM", from)
	}
	encrypted := strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") || block.Type == "ENCRYPTED PRIVATE KEY"
	switch {
	case encrypted:
		return nil, userError("%s is encrypted", from).withHint("openssl pkey -in KEY -out PLAIN decrypts it")
	case block.Type == "RSA PRIVATE KEY":
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, userError("%s cannot be read: %v", from, err)
		}
		return &signer{key}, nil
	case block.Type == "PRIVATE KEY":
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, userError("%s cannot be read: %v", from, err)
		}
		if key, ok := key.(*rsa.PrivateKey); ok {
			return &signer{key}, nil
		}
		return nil, userError("%s is no RSA key", from)
	}
	return nil, userError("%s is a %q, not an RSA private key", from, block.Type)
}

func (s *signer) bits() int { return s.key.N.BitLen() }

// sign returns the base64 of the RSA PKCS #1 v1.5 signature (RFC 8017 section 8.2) of a SHA-256 digest.
func (s *signer) sign(digest []byte) (string, error) {
	b, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, digest)
	if err != nil {
		return "", localError(err, "could not sign the bundle")
	}
	return base64.StdEncoding.EncodeToString(b), nil
}
