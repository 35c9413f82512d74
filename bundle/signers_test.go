package bundle

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"statiko/state"
)

func publicPEM(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// sign returns a signature over the SHA-256 as bundles carry it.
func sign(t testing.TB, key crypto.Signer, sum []byte) string {
	t.Helper()
	var how crypto.SignerOpts = crypto.SHA256
	if _, ok := key.(ed25519.PrivateKey); ok {
		how = crypto.Hash(0)
	}
	signature, err := key.Sign(rand.Reader, sum, how)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSigners_Check(t *testing.T) {
	t.Parallel()
	oldKey, newKey, stranger := rsaKey(t), edKey(t), edKey(t)
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&oldKey.PublicKey)})
	both := append(pkcs1, publicPEM(t, newKey.Public())...)
	sum, other := sha256.Sum256([]byte("archive")), sha256.Sum256([]byte("another"))
	app := func(signature string) *state.App {
		return &state.App{Name: "app", SHA256: hex.EncodeToString(sum[:]), Signature: signature}
	}
	for _, c := range []struct {
		hazard    string
		required  bool
		keys      []byte
		signature string
		want      error
	}{
		{"no keys: nothing is looked at", false, nil, "AAAA", nil},
		{"none, and none is required", false, both, "", nil},
		{"none, and one is required", true, both, "", ErrPending},
		{"by the old key", true, both, sign(t, oldKey, sum[:]), nil},
		{"by the new key", true, both, sign(t, newKey, sum[:]), nil},
		{"by a key that was taken out", true, pkcs1, sign(t, newKey, sum[:]), ErrSignature},
		{"by a stranger", true, both, sign(t, stranger, sum[:]), ErrSignature},
		{"by a stranger, although none is required", false, both, sign(t, stranger, sum[:]), ErrSignature},
		{"of another archive", true, both, sign(t, newKey, other[:]), ErrSignature},
		{"of a length that no key makes", true, both, base64.StdEncoding.EncodeToString(make([]byte, 65)), ErrSignature},
		{"that is no base64", true, both, "!", ErrSignature},
	} {
		s, err := NewSigners(c.required, c.keys)
		if err != nil {
			t.Fatalf("%s: %v", c.hazard, err)
		}
		for range 2 { // the second time from memory
			if err := s.Check(app(c.signature)); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%s: %v, want %v", c.hazard, err, c.want)
			}
		}
	}
	var none *Signers
	if err := none.Check(app("x")); err != nil {
		t.Errorf("without signers: %v", err)
	}
}

func TestNewSigners_Faults(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)})
	good := publicPEM(t, edKey(t).Public())
	for _, c := range []struct {
		hazard   string
		required bool
		text     []byte
		want     string
	}{
		{"required without a key", true, nil, "there is no public key"},
		{"no PEM", false, []byte("hello"), "block 1: is not PEM"},
		{"a private key", false, private, "block 1 (RSA PRIVATE KEY): is no public key"},
		{"RSA of 1024 bits", false, publicPEM(t, &small.PublicKey), "has 1024 bits; 2048 to 6144"},
		{"a key on a curve", false, append(bytes.Clone(good), publicPEM(t, &curve.PublicKey)...), "block 2 (PUBLIC KEY): is a key of type *ecdsa.PublicKey"},
		{"rubbish in a block", false, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), "block 1 (PUBLIC KEY): asn1"},
		{"something behind the last block", false, append(bytes.Clone(good), "rest"...), "block 2: is not PEM"},
	} {
		if _, err := NewSigners(c.required, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.hazard, err, c.want)
		} else if strings.Contains(err.Error(), "hello") {
			t.Errorf("%s: the error shows what was in the text: %v", c.hazard, err)
		}
	}
}

// Weakness W50: an unverified bundle could be used in the time between its two requests, and after an interruption.
func TestW50_ABundleIsPendingUntilItsSignatureSuffices(t *testing.T) {
	t.Parallel()
	key, stranger := edKey(t), edKey(t)
	signers, err := NewSigners(true, publicPEM(t, key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	n := newNodes(t, func(_ string, o *LibraryOptions) { o.Signers = signers }, "a", "b")
	archive := n.site("x")
	app := n.mustAdd("a", "app", archive)
	sum := sha256.Sum256(archive)
	for _, node := range []string{"a", "b"} {
		if _, err := n.all[node].Ensure(t.Context(), app); !errors.Is(err, ErrPending) {
			t.Errorf("%s: %v", node, err)
		}
		if _, ok := n.all[node].Kept(app.SHA256); ok {
			t.Errorf("%s has it unpacked without a signature", node)
		}
		n.has(node, "app", archive) // it is safe all the same
	}
	var invalid *state.InvalidError
	if err := n.all["a"].CheckDeploy(t.Context(), app); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "is pending") {
		t.Errorf("deploying it: %v", err)
	}
	hash := base64.StdEncoding.EncodeToString(sum[:])
	if _, err := n.all["b"].SetMetadata(t.Context(), "app", sign(t, stranger, sum[:]), hash); !errors.As(err, &invalid) || invalid.Faults[0].Field != "signature" {
		t.Errorf("a stranger's signature: %v", err)
	}
	if _, err := n.all["b"].SetMetadata(t.Context(), "app", sign(t, key, sum[:]), hash); err != nil {
		t.Fatal(err)
	}
	app, _ = n.store.Snapshot().App("app")
	for _, node := range []string{"a", "b"} {
		if _, err := n.all[node].Ensure(t.Context(), app); err != nil {
			t.Errorf("%s, signed: %v", node, err)
		}
	}
	// The earlier CLI sends its second request also without a signature: that takes none away.
	if _, err := n.all["a"].SetMetadata(t.Context(), "app", "", hash); err != nil {
		t.Fatal(err)
	}
	if now, _ := n.store.Snapshot().App("app"); n.all["a"].Pending(now) {
		t.Error("a request without a signature made a deployed bundle pending again")
	}
	// The archive was good when it came; a state that was tampered with is not.
	forged := app.Clone()
	forged.Signature = sign(t, stranger, sum[:])
	if _, ok := n.all["a"].Ready(forged); ok {
		t.Error("a bundle with a stranger's signature is ready")
	}
}
