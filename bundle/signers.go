package bundle

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"

	"statiko/state"
)

var (
	// ErrPending is wrapped by the error for a bundle whose signature is still to come.
	ErrPending = errors.New("its signature is missing")
	// ErrSignature is wrapped by the error for a bundle with a signature that none of the keys made.
	ErrSignature = errors.New("its signature was made by none of the configured keys")
)

// Signers are the keys whose signatures bundles carry, and whether they must. What is signed is the SHA-256 of the
// archive: with an RSA key as PKCS #1 v1.5 (RFC 8017, 8.2), with an Ed25519 key as the message (RFC 8032), its 32
// bytes. A nil Signers looks at no signature. Its methods are safe for concurrent use.
type Signers struct {
	required bool
	keys     []crypto.PublicKey
	// good has the signatures that were verified: a node asks about each bundle again and again.
	good sync.Map
}

// signed is a key of Signers.good.
type signed struct{ sha256, signature string }

// Sizes of RSA keys in bits. Smaller ones can be broken; the base64 of a signature of a larger one is longer than
// MaxSignature.
const (
	minRSABits = 2048
	maxRSABits = 6144
)

// NewSigners reads PEM blocks, each a public key: "PUBLIC KEY" (PKIX) of an RSA or Ed25519 key, or "RSA PUBLIC KEY"
// (PKCS #1). Several are for changing keys: a signature of any of them suffices. It is an error to require signatures
// without a key.
func NewSigners(required bool, text []byte) (*Signers, error) {
	s := &Signers{required: required}
	rest := bytes.TrimSpace(text)
	for n := 1; len(rest) > 0; n++ {
		block, after := pem.Decode(rest)
		if block == nil {
			return nil, fmt.Errorf("block %d: is not PEM", n)
		}
		key, err := parsePublicKey(block)
		if err != nil {
			return nil, fmt.Errorf("block %d (%s): %w", n, block.Type, err)
		}
		s.keys, rest = append(s.keys, key), bytes.TrimSpace(after)
	}
	if required && len(s.keys) == 0 {
		return nil, errors.New("signatures are required, and there is no public key to check them with")
	}
	return s, nil
}

func parsePublicKey(block *pem.Block) (crypto.PublicKey, error) {
	var key crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, errors.New("is no public key")
	}
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("the RSA key has %d bits; %d to %d are possible", bits, minRSABits, maxRSABits)
		}
	case ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("is a key of type %T; RSA and Ed25519 are possible", key)
	}
	return key, nil
}

// Check returns nil if the bundle's signature suffices, [ErrPending] if it has none and needs one, and [ErrSignature]
// if none of the keys made it. Without keys nothing is checked.
func (s *Signers) Check(app *state.App) error {
	if s == nil || len(s.keys) == 0 {
		return nil
	}
	if app.Signature == "" {
		if s.required {
			return ErrPending
		}
		return nil
	}
	at := signed{app.SHA256, app.Signature}
	if _, ok := s.good.Load(at); ok {
		return nil
	}
	signature, err := Meta{Signature: app.Signature}.SignatureBytes()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	sum, err := hex.DecodeString(app.SHA256)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	for _, key := range s.keys {
		if verifies(key, sum, signature) {
			s.good.Store(at, true)
			return nil
		}
	}
	return ErrSignature
}

// verifies tells whether the key made the signature over a SHA-256.
func verifies(key crypto.PublicKey, sum, signature []byte) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum, signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(k, sum, signature)
	}
	return false
}
