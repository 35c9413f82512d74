package api

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// pinPrefix begins every pin and names its digest.
const pinPrefix = "sha256/"

// PinOf returns the pin of a certificate's key: "sha256/" and the base64 of the SHA-256 digest of its
// SubjectPublicKeyInfo, as in RFC 7469 section 2.4. It stays the same when a certificate is renewed for its key.
func PinOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// ParsePin returns the pin in its usual form. It accepts "sha256/…", "sha256//…" (as curl writes it) and the bare
// base64.
func ParsePin(text string) (string, error) {
	text = strings.TrimSpace(text)
	digest := strings.TrimPrefix(text, pinPrefix)
	if b, err := base64.StdEncoding.DecodeString(digest); err == nil && len(b) == sha256.Size {
		return pinPrefix + digest, nil
	}
	digest = strings.TrimPrefix(digest, "/")
	if b, err := base64.StdEncoding.DecodeString(digest); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("%q is not a fingerprint: sha256/ and 44 characters of base64 are", text)
	}
	return pinPrefix + digest, nil
}

// PinMismatchError says that a node has another key than the one it is known by.
type PinMismatchError struct {
	// Want is the known pin, Got that of the key which the node showed.
	Want, Got string
}

func (e *PinMismatchError) Error() string {
	return fmt.Sprintf("the node's key has the fingerprint %s, expected is %s", e.Got, e.Want)
}

// Peer is what a node shows of itself in the TLS handshake.
type Peer struct {
	// Pin is that of the node's key; see [PinOf].
	Pin string
	// Certificate is the node's own.
	Certificate *x509.Certificate
	// Untrusted says why the certificate is not to be trusted for the host by the given roots; nil if it is.
	Untrusted error
}

// dialTimeout bounds connecting, and the TLS handshake: a node that takes longer is not reachable.
const dialTimeout = 15 * time.Second

// FetchPeer connects to host and port, shakes hands without trusting anybody, and hangs up: nothing else is sent.
// Roots are those to judge the certificate by; nil means the system's.
func FetchPeer(ctx context.Context, host string, port int, roots *x509.CertPool) (*Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	address := net.JoinHostPort(host, fmt.Sprint(port))
	// The certificate is judged below; nothing is sent over this connection.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: host, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, &TransportError{Address: address, Err: err}
	}
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	// Both sides are done with the connection; an error of hanging up says nothing.
	_ = conn.Close()
	if len(chain) == 0 {
		return nil, &TransportError{Address: address, Err: errors.New("the node showed no certificate")}
	}
	peer := &Peer{Pin: PinOf(chain[0]), Certificate: chain[0]}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, peer.Untrusted = chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	return peer, nil
}

// clientTLS returns the TLS configuration for what the options trust.
func clientTLS(o Options) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs}
	switch {
	case o.Pin != "" && o.Insecure:
		return nil, errors.New("a fingerprint and no verification at all exclude each other")
	case o.Pin != "":
		want, err := ParsePin(o.Pin)
		if err != nil {
			return nil, err
		}
		// The pin replaces the chain. VerifyConnection runs for resumed sessions too.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if got := PinOf(s.PeerCertificates[0]); got != want {
				return &PinMismatchError{Want: want, Got: got}
			}
			return nil
		}
	case o.Insecure:
		c.InsecureSkipVerify = true
	}
	return c, nil
}

// PinnedTLS returns a TLS configuration for clients that trusts a server if its key has the pin, whatever its
// certificate says, and nobody else.
func PinnedTLS(pin string) (*tls.Config, error) {
	if pin == "" {
		return nil, errors.New("there is no fingerprint")
	}
	return clientTLS(Options{Pin: pin})
}
