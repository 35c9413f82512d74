package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"statiko/dhparams"
)

// minDHBits is what OpenSSL takes at its usual level of security. It refuses smaller ones, and nginx would not start.
const minDHBits = 2048

// checkDH refuses parameters that nginx could not use.
func checkDH(pem string) error {
	p, err := dhparams.Parse(pem)
	if err != nil {
		return fmt.Errorf("DH parameters: %w", err)
	}
	if p.Bits() < minDHBits {
		return fmt.Errorf("DH parameters of %d bits: nginx refuses less than %d; the last good ones stay in use", p.Bits(), minDHBits)
	}
	return nil
}

// takeDH writes the parameters that are wanted, and tells whether they are others than those in use. s.applying is held.
func (s *Server) takeDH() (changed bool, err error) {
	text := ""
	if want := s.wantDH.Load(); want != nil {
		text = *want
	} else {
		text = dhparams.Builtin(minDHBits).PEM()
	}
	if text == "" {
		return false, errors.New("there are no DH parameters")
	}
	sum := sha256.Sum256([]byte(text))
	path := s.dhFile(hex.EncodeToString(sum[:10]))
	if err := s.writeOnce(path, []byte(text)); err != nil {
		return false, err
	}
	if path == s.dh {
		return false, nil
	}
	if s.dh != "" {
		s.discard(s.dh)
	}
	s.dh = path
	return true, nil
}

func (s *Server) dhFile(digest string) string { return filepath.Join(s.paths.dir, "dh-"+digest+".pem") }
