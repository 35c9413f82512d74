package cli

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
)

// signer signs bundles. Its key is an *rsa.PrivateKey or an ed25519.PrivateKey.
type signer struct{ key crypto.Signer }

// loadSigner reads a signing key, given as PEM text or as the path of a PEM file; nil if none is given. It is called
// before anything is sent.
func loadSigner(given string) (*signer, error) {
	if given == "" {
		return nil, nil
	}
	text, from, err := readPEM("--signing-key", "the signing key", given)
	if err != nil {
		return nil, err
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
		switch key := key.(type) {
		case *rsa.PrivateKey:
			return &signer{key}, nil
		case ed25519.PrivateKey:
			return &signer{key}, nil
		}
		return nil, userError("%s is neither an RSA nor an Ed25519 key", from)
	}
	return nil, userError("%s is a %q, not a private key", from, block.Type)
}

// readPEM returns what a flag gives, PEM text or the path of a PEM file, and how errors call it.
func readPEM(flag, what, given string) (text []byte, from string, err error) {
	if strings.Contains(given, "-----BEGIN ") {
		return []byte(given), what, nil
	}
	if text, err = os.ReadFile(given); err != nil {
		return nil, "", userError("%s: %v", flag, err)
	}
	return text, what + " in " + given, nil
}

// bits returns the size of an RSA key; 0 for others.
func (s *signer) bits() int {
	if key, ok := s.key.(*rsa.PrivateKey); ok {
		return key.N.BitLen()
	}
	return 0
}

// String names the kind of key.
func (s *signer) String() string {
	if n := s.bits(); n > 0 {
		return fmt.Sprintf("RSA-%d", n)
	}
	return "Ed25519"
}

// sign returns the base64 of the signature of a SHA-256 digest: with an RSA key PKCS #1 v1.5 (RFC 8017 section 8.2),
// with an Ed25519 key that of the digest's 32 bytes as the message (RFC 8032). Both are the same each time.
func (s *signer) sign(digest []byte) (string, error) {
	var how crypto.SignerOpts = crypto.SHA256
	if s.bits() == 0 {
		how = crypto.Hash(0)
	}
	b, err := s.key.Sign(rand.Reader, digest, how)
	if err != nil {
		return "", localError(err, "could not sign the bundle")
	}
	return base64.StdEncoding.EncodeToString(b), nil
}
