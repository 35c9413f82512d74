package bundle

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"statiko/state"
)

// Repository keeps the archives of bundles. It is a place for bytes only: which bundles exist, and what their
// bytes hash to, is said by the state. So a repository may lose or hold too much without harm, and what comes
// from it is verified by hash when it is staged, wherever it came from.
//
// Names are those of [CheckName], in lower case; anything else is an error. A bundle of no bytes counts as
// missing everywhere. All methods are safe for concurrent use, return ctx's error when it ends, and either do
// all of what they say or leave what was there. What they acknowledge is durable. Errors other than those named
// are the backend's, wrapped; a server that cannot be reached, or refuses us, is a [state.ErrUnavailable] too. repotest is the suite that every repository passes.
//
// It is not for finding out what exists in the cluster, and does not verify signatures.
type Repository interface {
	// Create stores an upload under a new name, or returns ErrExists and leaves the other one as it is. A
	// reader sees all of it, with its metadata, or nothing. The spool stays the caller's to discard.
	Create(ctx context.Context, name string, upload *Spool, meta Meta) error

	// Stat describes one bundle without reading it. The type is guessed from the name if none is stored, and may
	// be "". ErrNotFound if there is no such bundle.
	Stat(ctx context.Context, name string) (Entry, error)

	// Open returns the archive's bytes from the offset to the end, which the caller closes, and what is stored
	// beside them, as Stat does. An offset at or beyond the end yields no bytes. ErrNotFound if there is no such
	// bundle.
	Open(ctx context.Context, name string, offset int64) (io.ReadCloser, Meta, error)

	// SetMeta replaces what is stored beside the bytes. ErrNotFound if there is no such bundle.
	SetMeta(ctx context.Context, name string, meta Meta) error

	// Remove removes a bundle. Readers that have it open read on, but not over a break of their connection to a
	// server: what is gone cannot be asked for again. ErrNotFound if there is no such bundle.
	Remove(ctx context.Context, name string) error

	// List returns all bundles, sorted by name. One with unreadable metadata is listed without.
	List(ctx context.Context) ([]Entry, error)
}

// Entry is one bundle in a repository.
type Entry struct {
	Name string
	Meta Meta
	// Size is in bytes.
	Size int64
	// Modified is when the bytes were stored, as far as the backend knows.
	Modified time.Time
}

var (
	// ErrNotFound is wrapped by the error for a bundle that a repository does not have.
	ErrNotFound = errors.New("there is no such bundle")
	// ErrExists is wrapped by the error for a bundle whose name is taken.
	ErrExists = errors.New("a bundle of this name exists")
)

// Meta is what is stored beside an archive. Empty members are absent.
type Meta struct {
	// Type is one of [Types].
	Type string
	// Hash is the SHA-256 of the archive, in standard base64.
	Hash string
	// Signature is one over that SHA-256, in standard base64; see [Signers].
	Signature string
	// Entered tells that the archive was, or is going to be, in a state. What has it and is in no state was removed from
	// that, or its upload was refused, and it is not taken up.
	Entered bool
}

// MetaKeys are the names under which repositories store a Meta: the contract's, and our own.
func MetaKeys() []string { return []string{"type", "hash", "signature", "entered"} }

// Members returns what is stored: text under each of [MetaKeys] that has a value.
func (m Meta) Members() map[string]string {
	all := map[string]string{"type": m.Type, "hash": m.Hash, "signature": m.Signature}
	if m.Entered {
		all["entered"] = "true"
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

// MetaFrom makes a Meta of what is stored under [MetaKeys].
func MetaFrom(get func(key string) string) Meta {
	return Meta{Type: get("type"), Hash: get("hash"), Signature: get("signature"), Entered: get("entered") == "true"}
}

// SHA256 returns the hash in lower-case hexadecimal, "" if there is none. A hash that is none is an error, never
// taken for absent.
func (m Meta) SHA256() (string, error) {
	if m.Hash == "" {
		return "", nil
	}
	raw, err := decodeBase64(m.Hash)
	if err != nil {
		return "", errors.New("the hash is not standard base64")
	}
	if len(raw) != 32 {
		return "", fmt.Errorf("the hash has %d bytes, a SHA-256 has 32", len(raw))
	}
	return hex.EncodeToString(raw), nil
}

// SignatureBytes returns the decoded signature, nil if there is none. What cannot be the signature of an Ed25519 key
// or of an RSA key of 2048 to 6144 bits is an error, never taken for absent.
func (m Meta) SignatureBytes() ([]byte, error) {
	if m.Signature == "" {
		return nil, nil
	}
	raw, err := decodeBase64(m.Signature)
	if err != nil {
		return nil, errors.New("the signature is not standard base64")
	}
	if len(raw) != ed25519.SignatureSize && (len(raw) < 256 || len(raw) > 768) {
		return nil, fmt.Errorf("the signature has %d bytes; those of Ed25519 keys have 64, those of RSA keys 256 (2048 bits) to 768 (6144 bits)", len(raw))
	}
	return raw, nil
}

// decodeBase64 is strict about line breaks too, which the decoder skips and no header may hold.
func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break")
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// Check returns every fault of the type, the hash and the signature, joined.
func (m Meta) Check() error {
	var errs []error
	if m.Type != "" {
		errs = append(errs, CheckType(m.Type))
	}
	_, err := m.SHA256()
	errs = append(errs, err)
	_, err = m.SignatureBytes()
	return errors.Join(append(errs, err)...)
}

// CheckName returns the form in which a bundle's name is stored, lower case; see [state.CheckAppName].
func CheckName(name string) (string, error) { return state.CheckAppName(name) }
