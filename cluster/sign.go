package cluster

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// How the key of the calls is made: Keyring.Derive(KeyPurpose, KeySize).
const (
	KeyPurpose = "node to node"
	KeySize    = 32
)

// scheme begins the header Authorization of a call between nodes.
const scheme = "STK-Node "

// Bounds of what is taken for fresh.
const (
	// clockSkew is how far the clocks of two nodes may be apart. Clocks that nobody looks after drift by seconds a
	// day; ones that are wrong by more than this break certificates as well.
	clockSkew = 5 * time.Minute
	// maxNonces bounds the memory of nonces. Only who has the key can fill it; then calls are refused.
	maxNonces = 1 << 16
)

// ErrRefused is why a call between nodes was not believed.
var ErrRefused = errors.New("the call is not proved to come from a node of this cluster")

// claims is what a call says of itself.
type claims struct {
	From string `json:"from"`
	// To is the instance id of the node that is called, so that what one node was sent proves nothing to another.
	To string `json:"to"`
	// Time is in milliseconds since 1970, by the caller's clock.
	Time  int64  `json:"time"`
	Nonce string `json:"nonce"`
}

// signer proves calls and checks proofs.
type signer struct {
	// keys has the current one first; calls may be proved by any of them.
	keys [][]byte
	now  func() time.Time

	mu sync.Mutex
	// nonces has when each nonce that was seen may be forgotten; order has them oldest first.
	nonces map[string]time.Time
	order  []string
}

func newSigner(now func() time.Time, keys ...[]byte) *signer {
	return &signer{keys: keys, now: now, nonces: map[string]time.Time{}}
}

// mac covers everything that a call can ask for. No part can hold a line break.
func mac(key []byte, r *http.Request, body []byte, claims string) []byte {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "%s\n%s\n%s\n%s\n%x\n%s", scheme, r.Method, r.URL.EscapedPath(), r.URL.RawQuery, sha256.Sum256(body), claims)
	return m.Sum(nil)
}

// sign puts the proof into the request: base64 of the claims, a dot, and base64 of their HMAC-SHA-256 (RFC 2104)
// together with method, path, query and the body's digest.
func (s *signer) sign(key []byte, r *http.Request, body []byte, from, to string) error {
	data, err := json.Marshal(claims{From: from, To: to, Time: s.now().UnixMilli(), Nonce: rand.Text()})
	if err != nil {
		return fmt.Errorf("encode claims: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(data)
	r.Header.Set("Authorization", scheme+text+"."+base64.RawURLEncoding.EncodeToString(mac(key, r, body, text)))
	return nil
}

// verify returns who calls. Each proof is good for one call.
func (s *signer) verify(r *http.Request, body []byte, self string) (string, error) {
	proof, ok := strings.CutPrefix(r.Header.Get("Authorization"), scheme)
	text, code, dotted := strings.Cut(proof, ".")
	got, err := base64.RawURLEncoding.DecodeString(code)
	if !ok || !dotted || err != nil || !slices.ContainsFunc(s.keys, func(key []byte) bool { return hmac.Equal(got, mac(key, r, body, text)) }) {
		return "", fmt.Errorf("%w: it was not made with this cluster's encryption key", ErrRefused)
	}
	// From here on it is a node that speaks, and may know why it is refused.
	var c claims
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil || c.Nonce == "" {
		return "", fmt.Errorf("%w: it is of another version", ErrRefused)
	}
	if c.To != self {
		return "", fmt.Errorf("%w: it is for the node with the instance id %s, this is %s", ErrRefused, c.To, self)
	}
	now := s.now()
	if off := now.Sub(time.UnixMilli(c.Time)); off.Abs() > clockSkew {
		return "", fmt.Errorf("%w: the clocks of %s and this node are %v apart, and at most %v are borne", ErrRefused, c.From, off.Abs().Round(time.Second), clockSkew)
	}
	return c.From, s.once(c.Nonce, now)
}

// once refuses a nonce that was seen before. It remembers each for as long as its time could still be good.
func (s *signer) once(nonce string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.order) > 0 && now.After(s.nonces[s.order[0]]) {
		delete(s.nonces, s.order[0])
		s.order = s.order[1:]
	}
	if _, seen := s.nonces[nonce]; seen {
		return fmt.Errorf("%w: it was sent before", ErrRefused)
	}
	if len(s.order) >= maxNonces {
		return fmt.Errorf("%w: too many calls came within %v", ErrRefused, 2*clockSkew)
	}
	s.nonces[nonce] = now.Add(2 * clockSkew)
	s.order = append(s.order, nonce)
	return nil
}
