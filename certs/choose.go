package certs

import (
	"statiko/secret"
	"statiko/state"
)

// Notes of [PairFor].
const (
	noteACME     = "certificates of type acme cannot be issued by this version; served with a self-signed one"
	noteKeyVault = "certificates of type akv cannot be issued by this version; served with a self-signed one"
)

// PairFor returns the name of the secret with the pair that serves the site, and a note for people if that is not
// what the site asks for, else "". The secret may be missing: a self-signed one until the leader has made it.
func PairFor(s *state.Snapshot, site *state.Site) (secretName, note string) {
	switch typeOf(site) {
	case state.TLSImported:
		return state.PrefixImported + site.TLS.Certificate, ""
	case state.TLSACME:
		name := secret.PairName(state.PrefixACME, site.Domain, site.Aliases)
		if _, ok := s.Secret(name); ok {
			return name, ""
		}
		note = noteACME
	case state.TLSKeyVault:
		note = noteKeyVault
	}
	return secret.PairName(state.PrefixSelfSigned, site.Domain, site.Aliases), note
}

func typeOf(site *state.Site) string {
	if site.TLS == nil {
		return state.TLSSelfSigned
	}
	return site.TLS.Type
}

// selfSignedFor returns the name of the self-signed pair that serves the site, or "" if it needs none. has tells
// whether a secret exists.
func selfSignedFor(site *state.Site, has func(name string) bool) string {
	switch typeOf(site) {
	case state.TLSImported:
		return ""
	case state.TLSACME:
		if has(secret.PairName(state.PrefixACME, site.Domain, site.Aliases)) {
			return ""
		}
	}
	return secret.PairName(state.PrefixSelfSigned, site.Domain, site.Aliases)
}
