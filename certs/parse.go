package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const blockCertificate = "CERTIFICATE"

// maxChain bounds the work that a certificate text can cause.
const maxChain = 100

// parseChain reads all certificates of a PEM text, the leaf first. Text between blocks is ignored, as everywhere;
// anything else than certificates, and damage behind the last one, is an error.
func parseChain(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	rest := text
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		n := len(chain) + 1
		switch {
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, errors.New("the certificate text contains a private key: give the certificates alone")
		case block.Type != blockCertificate:
			return nil, fmt.Errorf("PEM block %d is %q, not %q", n, clip(block.Type), blockCertificate)
		case n > maxChain:
			return nil, fmt.Errorf("there are more than %d certificates", maxChain)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d is not X.509: %s", n, plainX509(err))
		}
		chain = append(chain, c)
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, fmt.Errorf("PEM block %d is cut off or damaged", len(chain)+1)
	case len(chain) == 0:
		return nil, fmt.Errorf("there is no PEM block %q", blockCertificate)
	}
	return chain, nil
}

// parseKey reads the one private key of a PEM text: PKCS #8, PKCS #1 or SEC 1, whatever the block's label says, as
// the earlier program labelled some wrongly. Errors never contain anything of the key.
func parseKey(text []byte) (crypto.Signer, error) {
	var key crypto.Signer
	rest := text
	for n := 1; ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		switch {
		case block.Type == "EC PARAMETERS":
			continue // what "openssl ecparam -genkey" writes before the key
		case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, errors.New(`the key is encrypted with a pass phrase: remove it with "openssl pkey -in key.pem -out plain.pem"`)
		case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, fmt.Errorf("PEM block %d is %q, not a private key", n, clip(block.Type))
		case key != nil:
			return nil, errors.New("there is more than one private key")
		}
		var err error
		if key, err = parseKeyDER(block.Bytes); err != nil {
			return nil, err
		}
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, errors.New("the key's PEM block is cut off or damaged")
	case key == nil:
		return nil, errors.New("there is no PEM block with a private key")
	}
	return key, nil
}

func parseKeyDER(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		switch k := k.(type) {
		case *rsa.PrivateKey:
			return k, nil
		case *ecdsa.PrivateKey:
			return k, nil
		case ed25519.PrivateKey:
			return k, nil
		}
		return nil, errors.New("the key is of a type that no web server uses: RSA, ECDSA or Ed25519 is needed")
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	return nil, errors.New("the key is neither PKCS #8 nor PKCS #1 nor SEC 1, or it is damaged")
}

// samePublic tells whether two public keys are one.
func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func plainX509(err error) string { return strings.TrimPrefix(err.Error(), "x509: ") }

// clip bounds foreign text in a message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
