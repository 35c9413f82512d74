package dhparams

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// blockType is the label of the PEM block.
const blockType = "DH PARAMETERS"

// maxText is far more than the largest prime of [MaxBits] needs, in bytes.
const maxText = 64 << 10

// Params are Diffie-Hellman parameters. They are immutable: the numbers must not be changed.
type Params struct {
	// P is the prime, G the generator.
	P, G *big.Int
	// ExponentBits is the length of private exponents in bits that the parameters ask for; 0 if they do not.
	ExponentBits int
}

// dhParameter is DHParameter of PKCS #3, section 9.
type dhParameter struct {
	Prime, Base        *big.Int
	PrivateValueLength int `asn1:"optional"`
}

// Parse reads the one PEM block "DH PARAMETERS" of a text (PKCS #3 in DER). Text before the block is ignored, as
// OpenSSL prints the numbers there if asked to. The numbers are not checked beyond being positive: see
// [Params.Check].
func Parse(pemText string) (*Params, error) {
	if len(pemText) > maxText {
		return nil, fmt.Errorf("the text has %d bytes; DH parameters have at most %d", len(pemText), maxText)
	}
	block, rest := pem.Decode([]byte(pemText))
	switch {
	case block == nil && strings.Contains(pemText, "-----BEGIN"):
		return nil, errors.New("the PEM block is cut off or damaged")
	case block == nil:
		return nil, fmt.Errorf("there is no PEM block %q", blockType)
	case block.Type == "X9.42 DH PARAMETERS":
		return nil, fmt.Errorf(`the parameters are of the form X9.42; make some of PKCS #3 with "openssl dhparam -out dh.pem 2048"`)
	case block.Type != blockType:
		return nil, fmt.Errorf("the PEM block is %.40q, not %q", block.Type, blockType)
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, errors.New("there is more than one PEM block")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("there is something behind the PEM block")
	case len(block.Headers) > 0:
		return nil, errors.New("the PEM block has headers, which do not belong there")
	}
	return parseDER(block.Bytes)
}

func parseDER(der []byte) (*Params, error) {
	var d dhParameter
	rest, err := asn1.Unmarshal(der, &d)
	if err != nil {
		return nil, errors.New("the PEM block does not contain DH parameters of PKCS #3 (two numbers, in DER)")
	}
	if len(rest) > 0 {
		return nil, errors.New("there is something behind the parameters inside the PEM block")
	}
	if d.Prime.Sign() <= 0 || d.Base.Sign() <= 0 || d.PrivateValueLength < 0 {
		return nil, errors.New("the parameters contain a number that is not positive")
	}
	p := &Params{d.Prime, d.Base, d.PrivateValueLength}
	// The decoder passes over further members of the sequence.
	if again, err := p.der(); err != nil || !bytes.Equal(again, der) {
		return nil, errors.New("the PEM block contains more than DH parameters of PKCS #3")
	}
	return p, nil
}

func (p *Params) der() ([]byte, error) {
	return asn1.Marshal(dhParameter{p.P, p.G, p.ExponentBits})
}

// PEM returns the parameters as a PEM block "DH PARAMETERS", which [Parse], OpenSSL and nginx read.
func (p *Params) PEM() string {
	der, err := p.der()
	if err != nil { // not with numbers that are there
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
}

// Bits returns the length of the prime in bits.
func (p *Params) Bits() int { return p.P.BitLen() }

// Equal tells whether both have the same prime and generator.
func (p *Params) Equal(o *Params) bool {
	return p != nil && o != nil && p.P.Cmp(o.P) == 0 && p.G.Cmp(o.G) == 0
}

func (p *Params) String() string {
	return fmt.Sprintf("DH parameters of %d bits, generator %.20s", p.Bits(), p.G.Text(10))
}
