package secret

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// MaxPairPart is the largest key or certificate chain in bytes that [PackPair] takes, each.
const MaxPairPart = 204800

// pairHeader is the size of the two lengths before the parts.
const pairHeader = 8

// PackPair joins a private key and its certificates, both PEM texts, to the plain text of a secret: length of the
// key and length of the certificates, each 32 bits little-endian, then both texts. Neither may be empty or longer
// than [MaxPairPart].
func PackPair(key, cert []byte) ([]byte, error) {
	for _, part := range []struct {
		what string
		data []byte
	}{{"private key", key}, {"certificate", cert}} {
		if n := len(part.data); n == 0 {
			return nil, fmt.Errorf("the %s is empty", part.what)
		} else if n > MaxPairPart {
			return nil, fmt.Errorf("the %s has %d bytes; at most %d are possible", part.what, n, MaxPairPart)
		}
	}
	b := make([]byte, 0, pairHeader+len(key)+len(cert))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(cert)))
	b = append(b, key...)
	return append(b, cert...), nil
}

// UnpackPair splits what [PackPair] joined. The results share packed's memory. The only error is ErrMalformed.
func UnpackPair(packed []byte) (key, cert []byte, err error) {
	if len(packed) < pairHeader {
		return nil, nil, fmt.Errorf("a packed pair has at least %d bytes, this one %d: %w", pairHeader+2, len(packed), ErrMalformed)
	}
	k := uint64(binary.LittleEndian.Uint32(packed))
	c := uint64(binary.LittleEndian.Uint32(packed[4:]))
	if k == 0 || c == 0 {
		return nil, nil, fmt.Errorf("a packed pair lacks its key or its certificate: %w", ErrMalformed)
	}
	if uint64(len(packed)) != pairHeader+k+c {
		return nil, nil, fmt.Errorf("a packed pair should have %d bytes and has %d: %w", pairHeader+k+c, len(packed), ErrMalformed)
	}
	end := pairHeader + k
	return packed[pairHeader:end:end], packed[end:], nil
}

// PairName returns the name of the secret with the pair for a site: the prefix, then the first 15 hexadecimal digits
// of SHA-256 over domain and aliases joined by commas in the given order, so that other aliases, or another order,
// make another name.
func PairName(prefix, domain string, aliases []string) string {
	n := len(domain)
	for _, a := range aliases {
		n += 1 + len(a)
	}
	b := append(make([]byte, 0, n), domain...)
	for _, a := range aliases {
		b = append(append(b, ','), a...)
	}
	sum := sha256.Sum256(b)
	return prefix + hex.EncodeToString(sum[:])[:15]
}
