package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"statiko/state"
)

// siteChange is the body of PATCH /site/{domain}.
type siteChange struct {
	// tls replaces the choice of certificate; nil leaves it.
	tls *state.SiteTLS
	// aliases replaces the aliases if setAliases is true; nil and empty both clear them.
	aliases    []string
	setAliases bool
}

// changeSite answers PATCH /site/{domain}.
func (s *Server) changeSite(c *call) error {
	name, err := s.siteName(c)
	if err != nil {
		return err
	}
	var body map[string]json.RawMessage
	if err := c.decode(&body, nil); err != nil {
		return err
	}
	change, faults := readSiteChange(body)
	if len(faults) > 0 {
		return invalid("the request", faults...)
	}

	var changed *state.Site
	var generation, before int64
	var same bool
	revision, err := s.update(c, func(d *state.Draft) error {
		old, ok := d.Site(name)
		if !ok {
			return noSite(name)
		}
		if err := c.checkMatch(d, old.Key()); err != nil {
			return err
		}
		generation, before = d.Snapshot().Head().Generation, d.Revision(old.Key())
		if changed, err = change.apply(old); err != nil {
			return err
		}
		if err := freeNames(d, changed, old.Domain); err != nil {
			return err
		}
		same = sameJSON(old, changed)
		return putSite(d, changed)
	})
	if err != nil {
		return err
	}
	if same {
		c.setETag(generation, before)
	} else {
		c.setETag(generation, revision)
	}
	s.applied(c, revision, changed.Domain)
	return c.json(http.StatusOK, wireSite(changed))
}

// readSiteChange takes what matters out of the body, whatever the letter case of its names, and says which types
// are wrong. "tls": null changes nothing.
func readSiteChange(body map[string]json.RawMessage) (change siteChange, faults []state.Fault) {
	for name, raw := range body {
		switch {
		case strings.EqualFold(name, "tls"):
			t, f := readSiteTLS(raw)
			faults = append(faults, f...)
			change.tls = t
		case strings.EqualFold(name, "aliases"):
			a, f := readAliases(raw)
			faults = append(faults, f...)
			change.aliases, change.setAliases = a, true
		}
	}
	return change, faults
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

func readSiteTLS(raw json.RawMessage) (*state.SiteTLS, []state.Fault) {
	if isNull(raw) {
		return nil, nil
	}
	var members struct {
		Type    *string `json:"type"`
		Cert    string  `json:"cert"`
		Version string  `json:"ver"`
	}
	if err := json.Unmarshal(raw, &members); err != nil {
		wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
		if !ok {
			return nil, []state.Fault{fault("tls", "cannot be read")}
		}
		return nil, []state.Fault{wrongJSONType(strings.TrimSuffix("tls."+wrong.Field, "."), wrong)}
	}
	if members.Type == nil || *members.Type == "" {
		return nil, []state.Fault{fault("tls.type", "is missing; it is one of %s, %s, %s, %s",
			state.TLSSelfSigned, state.TLSACME, state.TLSImported, state.TLSKeyVault)}
	}
	return &state.SiteTLS{Type: *members.Type, Certificate: members.Cert, Version: members.Version}, nil
}

func readAliases(raw json.RawMessage) (aliases []string, faults []state.Fault) {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return nil, []state.Fault{fault("aliases", "is not an array of host names")}
	}
	if elements != nil {
		aliases = []string{} // an empty list is stored as one
	}
	for i, e := range elements {
		var text string
		if isNull(e) || json.Unmarshal(e, &text) != nil {
			faults = append(faults, fault(fmt.Sprintf("aliases[%d]", i), "is not text"))
		}
		aliases = append(aliases, text)
	}
	return aliases, faults
}

// apply returns the changed site, normalized.
func (ch siteChange) apply(old *state.Site) (*state.Site, error) {
	site := old.Clone()
	var faults []state.Fault
	if ch.tls != nil {
		t := *ch.tls
		site.TLS = &t
		if old.Temporary && t.Type == state.TLSACME {
			faults = append(faults, fault("tls.type", "a temporary site cannot have a certificate of type %s", state.TLSACME))
		}
	}
	if ch.setAliases {
		site.Aliases = append(ch.aliases[:0:0], ch.aliases...)
		if ch.aliases != nil && site.Aliases == nil {
			site.Aliases = []string{}
		}
		if old.Temporary {
			faults = append(faults, fault("aliases", "a temporary site has no aliases"))
		}
	}
	if faults = append(faults, site.Normalize()...); len(faults) > 0 {
		return nil, invalid("the site "+old.Domain, faults...)
	}
	return site, nil
}

// sameJSON tells whether two objects are stored as the same bytes.
func sameJSON(a, b state.Object) bool {
	x, errX := a.MarshalJSON()
	y, errY := b.MarshalJSON()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
