package server

import (
	"fmt"
	"math/rand/v2"

	"statiko/state"
)

// maxTemporaryNames is how many generated names are tried. There are billions, so a second is seldom needed.
const maxTemporaryNames = 20

// checkTemporary refuses what temporary sites cannot have: names of the caller's choice, and certificates of an
// authority that counts them.
func (s *Server) checkTemporary(site *state.Site) error {
	if s.TemporaryDomain == "" {
		return noTemporarySites()
	}
	var faults []state.Fault
	if site.Domain != "" {
		faults = append(faults, fault("domain", "a temporary site's domain is generated; leave it out"))
	}
	if len(site.Aliases) > 0 {
		faults = append(faults, fault("aliases", "a temporary site has no aliases"))
	}
	if site.TLS != nil && site.TLS.Type == state.TLSACME {
		faults = append(faults, fault("tls.type", "a temporary site cannot have a certificate of type %s", state.TLSACME))
	}
	if len(faults) > 0 {
		return invalid("the site", faults...)
	}
	return nil
}

func noTemporarySites() error {
	return invalid("the request", fault("temporary",
		"this node has no domain for temporary sites; the configuration key temporarySites.domain sets it"))
}

// temporaryName returns a name such as "gently-amber-otter-512.preview.example.org": three words and a number from
// 100 to 998.
func temporaryName(domain string) string {
	return fmt.Sprintf("%s-%s-%s-%d.%s", pick(adverbs), pick(adjectives), pick(nouns), 100+rand.IntN(899), domain)
}

func pick(words []string) string { return words[rand.IntN(len(words))] }
