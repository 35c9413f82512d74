package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// Codes of problems, in the order in which [Judge] returns them.
const (
	ProblemCertificate  = "certificate_unreadable" // no PEM, no X.509, other blocks
	ProblemKey          = "key_unreadable"         // no PEM, no private key, encrypted
	ProblemMismatch     = "key_mismatch"           // the key is not the certificate's
	ProblemWeakKey      = "weak_key"               // RSA below 2048 bits, a curve below 224
	ProblemWeakDigest   = "weak_signature"         // signed with MD5 or SHA-1
	ProblemExpired      = "expired"
	ProblemExpiresSoon  = "expires_soon" // within 12 hours
	ProblemNotYetValid  = "not_yet_valid"
	ProblemNames        = "names_not_covered"
	ProblemChainOrder   = "chain_order"   // a certificate is not followed by its issuer
	ProblemChainBroken  = "chain_broken"  // its follower has the issuer's name, but did not sign it
	ProblemChainExpired = "chain_expired" // a later certificate of the text is outside its dates
)

// soon is how much time must be left.
const soon = 12 * time.Hour

// minRSA is the least number of bits of an RSA key that every web server loads.
const minRSA = 2048

// Problem is one thing that is wrong with a pair.
type Problem struct {
	// Code is one of the Problem constants.
	Code string
	// Text is a sentence for people, without a final stop.
	Text string
	// Fatal problems make the pair unusable, as a web server would not load it. The others can be overruled by
	// whoever imports it.
	Fatal bool
}

func (p Problem) String() string { return p.Text }

// Judge returns everything that is wrong with a pair at once: certPEM has the certificate and then its chain, keyPEM
// the private key, names are the host names that it is to be served for (none if not known yet; wildcards of the
// certificate count). Whether the chain leads to a trusted authority is not looked at.
func Judge(certPEM, keyPEM []byte, names []string, now time.Time) []Problem {
	var j judgement
	chain, err := parseChain(certPEM)
	if err != nil {
		j.fatal(ProblemCertificate, "%v", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		j.fatal(ProblemKey, "%v", err)
	}
	if chain == nil {
		return j
	}
	leaf := chain[0]
	if key != nil && !samePublic(key.Public(), leaf.PublicKey) {
		j.mismatch(chain, key.Public())
	}
	j.strength(leaf)
	j.dates(leaf, now)
	j.names(leaf, names)
	j.chain(chain, now)
	return j
}

// Fatal tells whether one of the problems is.
func Fatal(ps []Problem) bool {
	for _, p := range ps {
		if p.Fatal {
			return true
		}
	}
	return false
}

type judgement []Problem

func (j *judgement) fatal(code, format string, args ...any) {
	*j = append(*j, Problem{code, fmt.Sprintf(format, args...), true})
}

func (j *judgement) add(code, format string, args ...any) {
	*j = append(*j, Problem{code, fmt.Sprintf(format, args...), false})
}

func (j *judgement) mismatch(chain []*x509.Certificate, key crypto.PublicKey) {
	for i, c := range chain[1:] {
		if samePublic(key, c.PublicKey) {
			j.fatal(ProblemMismatch, "the private key belongs to certificate %d of the text, which must stand first", i+2)
			return
		}
	}
	j.fatal(ProblemMismatch, "the private key does not belong to the certificate")
}

func (j *judgement) strength(c *x509.Certificate) {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA {
			j.fatal(ProblemWeakKey, "the RSA key has %d bits; web servers refuse less than %d", n, minRSA)
		}
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n < 224 {
			j.fatal(ProblemWeakKey, "the ECDSA key has %d bits; web servers refuse less than 224", n)
		}
	case ed25519.PublicKey:
	default:
		j.fatal(ProblemWeakKey, "the certificate's key is of a type that no web server uses: RSA, ECDSA or Ed25519 is needed")
	}
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		// Nobody looks at the signature of a certificate that is its own issuer.
		if !isSelfSigned(c) {
			j.fatal(ProblemWeakDigest, "the certificate is signed with %s, which web servers and browsers refuse", c.SignatureAlgorithm)
		}
	}
}

func (j *judgement) dates(c *x509.Certificate, now time.Time) {
	switch left := c.NotAfter.Sub(now); {
	case left < 0:
		j.add(ProblemExpired, "the certificate expired at %s", stamp(c.NotAfter))
	case left < soon:
		j.add(ProblemExpiresSoon, "the certificate expires at %s, in less than %d hours", stamp(c.NotAfter), int(soon.Hours()))
	}
	if now.Before(c.NotBefore) {
		j.add(ProblemNotYetValid, "the certificate is not valid before %s", stamp(c.NotBefore))
	}
}

func (j *judgement) names(c *x509.Certificate, names []string) {
	if missing := notCovered(c, names); len(missing) > 0 {
		j.add(ProblemNames, "the certificate is not for %s (it is for %s)", shorten(missing), shorten(namesOf(c)))
	}
}

func (j *judgement) chain(chain []*x509.Certificate, now time.Time) {
	for i, c := range chain[1:] {
		n := i + 2
		switch before := chain[i]; {
		case !bytes.Equal(before.RawIssuer, c.RawSubject):
			j.add(ProblemChainOrder, "certificate %d of the text is not the issuer of the one before it (%q is wanted, it is %q)",
				n, clip(before.Issuer.String()), clip(c.Subject.String()))
		default:
			if err := before.CheckSignatureFrom(c); err != nil {
				j.add(ProblemChainBroken, "certificate %d of the text did not sign the one before it: %s", n, plainX509(err))
			}
		}
		if now.After(c.NotAfter) || now.Before(c.NotBefore) {
			j.add(ProblemChainExpired, "certificate %d of the text is valid from %s to %s only", n, stamp(c.NotBefore), stamp(c.NotAfter))
		}
	}
}

// notCovered returns those of names that the certificate is not for.
func notCovered(c *x509.Certificate, names []string) []string {
	var missing []string
	for _, n := range names {
		if c.VerifyHostname(n) != nil {
			missing = append(missing, n)
		}
	}
	return missing
}

// shorten lists the first of names.
func shorten(names []string) string {
	const shown = 5
	if len(names) == 0 {
		return "no name"
	}
	var b strings.Builder
	for i, n := range names {
		if i == shown && len(names) > shown+1 {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(clip(n))
	}
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
