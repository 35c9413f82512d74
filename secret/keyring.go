package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Sizes of sealed values in bytes.
const (
	nonceSize = 12
	tagSize   = 16
	// Overhead is what sealing adds: the nonce before the ciphertext and the tag behind it.
	Overhead = nonceSize + tagSize
	// MaxPlain is the largest value that can be sealed: sealed, it has 512 KiB, the largest secret of the state.
	MaxPlain = 512<<10 - Overhead
)

// What can be wrong with a sealed value or a packed pair, to be compared with [errors.Is].
var (
	// ErrWrongKey: no key of the keyring opens the value. It was sealed with another one, or was changed since.
	ErrWrongKey = errors.New("sealed with another encryption key, or damaged")
	// ErrMalformed: the bytes are not of the format at all.
	ErrMalformed = errors.New("malformed")
)

// idMessage and derivePrefix keep the key's uses apart: no derived key equals the id's HMAC.
const (
	idMessage    = "statiko key id"
	derivePrefix = "statiko derived key: "
)

// Keyring seals with its current key and opens with that and with older ones. It is immutable and safe for concurrent
// use. Printed in any way, also inside other values, it shows nothing of the keys.
type Keyring struct {
	// keys has the current key first.
	keys []key
}

// key keeps its bytes behind functions: of a keyring in an unexported field fmt does not call Format, and some of its
// verbs follow pointers, but none can look into a function.
type key struct {
	id   string
	raw  func() []byte
	aead func() cipher.AEAD
}

// NewKeyring returns a keyring that seals with key and also opens with oldKeys. Each is standard base64 of 16 bytes
// (AES-128) or 32 bytes (AES-256). Blanks around it do not matter. Errors never contain a key.
func NewKeyring(current string, oldKeys ...string) (*Keyring, error) {
	r := &Keyring{}
	for i, text := range append([]string{current}, oldKeys...) {
		k, err := newKey(text)
		switch {
		case err != nil && i == 0:
			return nil, fmt.Errorf("encryption key: %w", err)
		case err != nil:
			return nil, fmt.Errorf("old encryption key %d: %w", i, err)
		case r.Knows(k.id):
			continue
		}
		r.keys = append(r.keys, k)
	}
	return r, nil
}

func newKey(text string) (key, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return key{}, errors.New("is missing; make one with: openssl rand -base64 32")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		// The decoder's own error would tell a part of the key.
		return key{}, errors.New("is not standard base64; make one with: openssl rand -base64 32")
	}
	if len(raw) != 16 && len(raw) != 32 {
		return key{}, fmt.Errorf("has %d bytes, not 16 or 32; make one with: openssl rand -base64 32", len(raw))
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, err
	}
	return key{keyID(raw), func() []byte { return raw }, func() cipher.AEAD { return aead }}, nil
}

func keyID(raw []byte) string {
	m := hmac.New(sha256.New, raw)
	m.Write([]byte(idMessage))
	return hex.EncodeToString(m.Sum(nil)[:8])
}

// Seal encrypts plain with the current key by AES-GCM under a random nonce. The result is nonce (12 bytes) ‖
// ciphertext ‖ tag (16 bytes), without additional data. The only error is a value longer than [MaxPlain].
func (r *Keyring) Seal(plain []byte) ([]byte, error) {
	if len(plain) > MaxPlain {
		return nil, fmt.Errorf("the value has %d bytes; at most %d can be sealed", len(plain), MaxPlain)
	}
	return r.keys[0].aead().Seal(nil, nil, plain, nil), nil
}

// Open decrypts what Seal made with any key of the keyring. The errors are ErrMalformed for something too short to
// be sealed and ErrWrongKey.
func (r *Keyring) Open(sealed []byte) ([]byte, error) {
	plain, _, err := r.OpenID(sealed)
	return plain, err
}

// OpenID is [Keyring.Open] and also returns the id of the key that opened the value: if it is not [Keyring.ID], the
// value is worth sealing again.
func (r *Keyring) OpenID(sealed []byte) (plain []byte, id string, err error) {
	if len(sealed) < Overhead {
		return nil, "", fmt.Errorf("a sealed value has at least %d bytes, this one %d: %w", Overhead, len(sealed), ErrMalformed)
	}
	for _, k := range r.keys {
		if plain, err := k.aead().Open(nil, nil, sealed, nil); err == nil {
			return plain, k.id, nil
		}
	}
	return nil, "", ErrWrongKey
}

// ID names the current key without revealing it: the first 16 hexadecimal digits, in lower case, of
// HMAC-SHA-256(key, "statiko key id").
func (r *Keyring) ID() string { return r.keys[0].id }

// IDs returns the ids of all keys, the current one first.
func (r *Keyring) IDs() []string {
	ids := make([]string, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

// Knows tells whether a key of the keyring has the id.
func (r *Keyring) Knows(id string) bool {
	for _, k := range r.keys {
		if k.id == id {
			return true
		}
	}
	return false
}

// Derive returns n bytes (1 to 8160) derived from the current key for the purpose, by HKDF with SHA-256 (RFC 5869),
// without salt, with the info "statiko derived key: " + purpose. Different purposes yield independent keys.
func (r *Keyring) Derive(purpose string, n int) ([]byte, error) {
	if n < 1 {
		return nil, fmt.Errorf("derive a key of %d bytes: at least 1", n)
	}
	return hkdf.Key(sha256.New, r.keys[0].raw(), nil, derivePrefix+purpose, n)
}

// hidden is what a keyring prints as.
const hidden = "[secret]"

// Format prints "[secret]" for every verb.
func (Keyring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

func (Keyring) String() string { return hidden }

// GoString returns "[secret]".
func (Keyring) GoString() string { return hidden }

// MarshalText returns "[secret]", so that encoders and loggers have nothing else to show.
func (Keyring) MarshalText() ([]byte, error) { return []byte(hidden), nil }
