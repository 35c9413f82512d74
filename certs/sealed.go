package certs

import (
	"statiko/secret"
	"statiko/state"
)

// InspectSealed opens a stored pair and tells about its certificate. Its errors say nothing of the key.
func InspectSealed(ring *secret.Keyring, sec *state.Secret) (Info, error) {
	plain, err := ring.Open(sec.Sealed)
	if err != nil {
		return Info{}, err
	}
	_, cert, err := secret.UnpackPair(plain)
	if err != nil {
		return Info{}, err
	}
	return Inspect(cert)
}
