package builtin

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"

	"statiko/webserver"
)

// pair is a parsed certificate with its key. Sites with the same pair share it.
type pair struct {
	certificate tls.Certificate
	digest      pairDigest
}

// pairDigest identifies a pair. It is one-way: a key is far too random to be guessed from it.
type pairDigest [sha256.Size]byte

func digestPair(p webserver.Pair) (d pairDigest) {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", len(p.CertificatePEM))
	h.Write(p.CertificatePEM)
	h.Write(p.KeyPEM)
	h.Sum(d[:0])
	return d
}

// parsePair checks that the key belongs to the leaf. It keeps neither the PEM nor the parsed leaf, which is
// several times the size of all else and is not needed to serve.
func parsePair(p webserver.Pair, digest pairDigest) (*pair, error) {
	if len(p.CertificatePEM) == 0 || len(p.KeyPEM) == 0 {
		return nil, errors.New("certificate: there is none")
	}
	c, err := tls.X509KeyPair(p.CertificatePEM, p.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c.Leaf = nil
	return &pair{certificate: c, digest: digest}, nil
}

// pairPool counts the users of each pair.
type pairPool map[pairDigest]*pooledPair

type pooledPair struct {
	pair  *pair
	users int
}

func (p pairPool) get(d pairDigest) *pair {
	if e := p[d]; e != nil {
		return e.pair
	}
	return nil
}

// use counts one more user and returns the pair to use: the pooled one, if there is one with the same content.
func (p pairPool) use(n *pair) *pair {
	e := p[n.digest]
	if e == nil {
		e = &pooledPair{pair: n}
		p[n.digest] = e
	}
	e.users++
	return e.pair
}

func (p pairPool) release(n *pair) {
	e := p[n.digest]
	if e == nil {
		return
	}
	if e.users--; e.users <= 0 {
		delete(p, n.digest)
	}
}
