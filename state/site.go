package state

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Types of a site's certificate.
const (
	TLSSelfSigned = "selfsigned" // made by the cluster
	TLSACME       = "acme"       // from an ACME authority
	TLSImported   = "imported"   // imported by name
	TLSKeyVault   = "akv"        // from Azure Key Vault, by name
)

// Site is one site: a primary domain, its aliases, where its certificate comes from, and the bundle it serves.
// It is immutable once it is part of a snapshot; see [Site.Clone].
type Site struct {
	Domain string
	// Aliases redirect to Domain. Null and empty lists are kept apart, as the document does.
	Aliases   []string
	Temporary bool
	// TLS is never nil in a snapshot.
	TLS *SiteTLS
	// App is nil for a site without a bundle.
	App *SiteApp
	// History has the versions that the site can go back to, newest first, with what it serves. See [Site.Deploy].
	History []Deployment
	// Created is when a temporary site was made; zero if that is not known, and for others.
	Created time.Time

	extra extras
}

// SiteTLS says where a site's certificate comes from.
type SiteTLS struct {
	// Type is one of the TLS constants.
	Type string
	// Certificate names an imported or Key Vault certificate.
	Certificate string
	// Version is that of a Key Vault certificate; "" is the newest.
	Version string

	extra extras
}

// SiteApp names the bundle that a site serves.
type SiteApp struct {
	Name string

	extra extras
}

// Key returns the site's key, whose name is the primary domain.
func (s *Site) Key() Key { return Key{KindSite, s.Domain} }

// Names returns the domain and the aliases.
func (s *Site) Names() []string {
	return append([]string{s.Domain}, s.Aliases...)
}

// AppName returns the name of the site's bundle, or "".
func (s *Site) AppName() string {
	if s.App == nil {
		return ""
	}
	return s.App.Name
}

// Clone returns a copy that may be changed.
func (s *Site) Clone() *Site {
	c := *s
	c.Aliases = slices.Clone(s.Aliases)
	if s.TLS != nil {
		t := *s.TLS
		c.TLS = &t
	}
	if s.App != nil {
		a := *s.App
		c.App = &a
	}
	c.History = slices.Clone(s.History)
	return &c
}

// uses returns the keys of the objects that the site cannot do without, or may go back to.
func (s *Site) uses() []Key {
	var keys []Key
	if s.TLS != nil && s.TLS.Type == TLSImported {
		keys = append(keys, ImportedCertificateKey(s.TLS.Certificate))
	}
	if s.App != nil {
		keys = append(keys, Key{KindApp, s.App.Name})
	}
	for _, v := range s.History {
		if v.App != s.AppName() {
			keys = append(keys, Key{KindApp, v.App})
		}
	}
	return keys
}

// Normalize brings names into their stored form and drops what has no meaning: it is what is done to every site
// before it is stored. It repairs what is harmless (letter case; no TLS member, which is self-signed) and
// returns the faults that are left, with fields relative to the site.
func (s *Site) Normalize() []Fault {
	var faults []Fault
	fault := func(field, format string, args ...any) {
		faults = append(faults, Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if d, err := CheckDomain(s.Domain); err != nil {
		fault("domain", "%v", err)
	} else {
		s.Domain = d
	}
	seen := map[string]bool{s.Domain: true}
	for i, a := range s.Aliases {
		field := fmt.Sprintf("aliases[%d]", i)
		n, err := CheckDomain(a)
		if err != nil {
			fault(field, "%v", err)
			continue
		}
		if seen[n] {
			fault(field, "%q stands twice among the names of this site", n)
		}
		seen[n] = true
		s.Aliases[i] = n
	}
	if n := 1 + len(s.Aliases); n > MaxNames {
		fault("aliases", "the site has %d names; at most %d are possible", n, MaxNames)
	}
	faults = append(faults, s.normalizeTLS()...)
	if s.App != nil {
		if n, err := CheckAppName(s.App.Name); err != nil {
			fault("app.name", "%v", err)
		} else {
			s.App.Name = n
		}
	}
	s.Created = s.Created.UTC().Truncate(time.Second)
	if y := s.Created.Year(); y < 0 || y > 9999 {
		fault("created", "is not a time of the years 0 to 9999")
	}
	return append(faults, s.normalizeHistory()...)
}

func (s *Site) normalizeTLS() []Fault {
	if s.TLS == nil {
		s.TLS = &SiteTLS{}
	}
	t := s.TLS
	switch t.Type {
	case "":
		t.Type = TLSSelfSigned
		fallthrough
	case TLSSelfSigned, TLSACME:
		t.Certificate, t.Version = "", ""
	case TLSImported:
		t.Version = ""
		n, err := CheckCertificateName(t.Certificate)
		if err != nil {
			return []Fault{{Field: "tls.cert", Message: err.Error()}}
		}
		t.Certificate = n
	case TLSKeyVault:
		if t.Certificate == "" || len(t.Certificate) > MaxAppName || strings.ContainsAny(t.Certificate, "/\\\x00\n\r ") {
			return []Fault{{Field: "tls.cert", Message: "is not the name of a Key Vault certificate"}}
		}
	default:
		return []Fault{{Field: "tls.type", Message: fmt.Sprintf("%q is none of %s, %s, %s, %s",
			t.Type, TLSSelfSigned, TLSACME, TLSImported, TLSKeyVault)}}
	}
	return nil
}

// siteJSON is the document's form of a site; its order is the document's.
type siteJSON struct {
	Domain    string       `json:"domain"`
	Aliases   []string     `json:"aliases"`
	Temporary bool         `json:"temporary,omitempty"`
	TLS       *SiteTLS     `json:"tls"`
	App       *SiteApp     `json:"app"`
	History   []Deployment `json:"history,omitempty"`
	Created   time.Time    `json:"created,omitzero"`
}

// MarshalJSON writes the site as in the state document, with the members that this version does not know.
func (s *Site) MarshalJSON() ([]byte, error) {
	return s.extra.encode(siteJSON{s.Domain, s.Aliases, s.Temporary, s.TLS, s.App, s.History, s.Created})
}

func decodeSite(_ string, data []byte) (Object, error) {
	s := &Site{}
	if err := s.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return s, nil
}

// UnmarshalJSON reads a site of the state document without checking it; see [Site.Normalize].
func (s *Site) UnmarshalJSON(data []byte) (err error) {
	s.extra, err = decodeMembers(data, map[string]any{
		"domain": &s.Domain, "aliases": &s.Aliases, "temporary": &s.Temporary, "tls": &s.TLS, "app": &s.App,
		"history": &s.History, "created": &s.Created,
	})
	return err
}

// MarshalJSON writes the choice of certificate as in the state document.
func (t *SiteTLS) MarshalJSON() ([]byte, error) {
	return t.extra.encode(struct {
		Type        string `json:"type"`
		Certificate string `json:"cert,omitempty"`
		Version     string `json:"ver,omitempty"`
	}{t.Type, t.Certificate, t.Version})
}

// UnmarshalJSON reads the choice of certificate of the state document.
func (t *SiteTLS) UnmarshalJSON(data []byte) (err error) {
	t.extra, err = decodeMembers(data, map[string]any{"type": &t.Type, "cert": &t.Certificate, "ver": &t.Version})
	return err
}

// MarshalJSON writes the bundle's name as in the state document.
func (a *SiteApp) MarshalJSON() ([]byte, error) {
	return a.extra.encode(struct {
		Name string `json:"name"`
	}{a.Name})
}

// UnmarshalJSON reads the bundle's name of the state document.
func (a *SiteApp) UnmarshalJSON(data []byte) (err error) {
	a.extra, err = decodeMembers(data, map[string]any{"name": &a.Name})
	return err
}
