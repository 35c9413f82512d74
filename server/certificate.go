package server

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"statiko/api"
	"statiko/certs"
	"statiko/secret"
	"statiko/state"
)

// listCertificates answers GET /certificate.
func (s *Server) listCertificates(c *call) error {
	if truthy(c.r.URL.Query().Get("details")) {
		return s.certificateDetails(c)
	}
	names := []string{}
	for secret := range s.snapshot(c).Secrets(state.PrefixImported) {
		names = append(names, strings.TrimPrefix(secret.Name, state.PrefixImported))
	}
	return c.json(http.StatusOK, names)
}

// importCertificate answers POST /certificate. An existing certificate of the name is replaced. That it covers the
// sites that use it is not asked here: they are served with it and say what is wrong.
func (s *Server) importCertificate(c *call) error {
	var body api.CertificateImport
	if err := c.decode(&body, func(form url.Values) (err error) {
		body = api.CertificateImport{Name: form.Get("name"), Certificate: form.Get("cert"), Key: form.Get("key")}
		body.Force, err = formBool(form, "force")
		return err
	}); err != nil {
		return err
	}
	name, faults := s.certificateFaults(&body)
	if len(faults) > 0 {
		return invalid("the certificate", faults...)
	}
	packed, err := secret.PackPair([]byte(body.Key), []byte(body.Certificate))
	if err != nil {
		return err
	}
	sealed, err := s.Keyring.Seal(packed)
	if err != nil {
		return err
	}
	key := state.ImportedCertificateKey(name)
	var generation int64
	revision, err := s.update(c, func(d *state.Draft) error {
		generation = d.Snapshot().Head().Generation
		if _, ok := d.Object(key); ok {
			if err := c.checkMatch(d, key); err != nil {
				return err
			}
		} else if len(c.r.Header.Values("If-Match")) > 0 {
			return state.Errorf(state.ErrPrecondition, key, "", "there is no certificate %s to replace", name)
		}
		return d.Put(&state.Secret{Name: key.Name, Sealed: sealed})
	})
	if err != nil {
		return err
	}
	c.setETag(generation, revision)
	s.applied(c, revision, "")
	return c.done()
}

// certificateFaults returns the name's stored form and everything that is wrong with a pair at once. Force overrules
// what does not keep a web server from using it.
func (s *Server) certificateFaults(body *api.CertificateImport) (name string, faults []state.Fault) {
	name, err := state.CheckCertificateName(body.Name)
	if err != nil {
		faults = append(faults, fault("name", "%v", err))
	}
	parts := []struct{ field, text string }{{"cert", body.Certificate}, {"key", body.Key}}
	usable := true
	for _, p := range parts {
		switch n := len(p.text); {
		case n == 0:
			faults = append(faults, fault(p.field, "is missing"))
			usable = false
		case n > secret.MaxPairPart:
			faults = append(faults, fault(p.field, "has %d bytes; at most %d are possible", n, secret.MaxPairPart))
			usable = false
		}
	}
	if !usable {
		return name, faults
	}
	for _, p := range certs.Judge([]byte(body.Certificate), []byte(body.Key), nil, s.Now()) {
		if !p.Fatal && body.Force {
			continue
		}
		field, text := "cert", p.Text
		if p.Code == certs.ProblemKey || p.Code == certs.ProblemMismatch {
			field = "key"
		}
		if !p.Fatal {
			text += "; force imports it all the same"
		}
		faults = append(faults, fault(field, "%s", text))
	}
	return name, faults
}

// deleteCertificate answers DELETE /certificate/{name}.
func (s *Server) deleteCertificate(c *call) error {
	name := strings.ToLower(c.r.PathValue("name"))
	key := state.ImportedCertificateKey(name)
	revision, err := s.update(c, func(d *state.Draft) error {
		if _, ok := d.Object(key); !ok {
			return notFound("there is no imported certificate %s", printable(name))
		}
		if err := c.checkMatch(d, key); err != nil {
			return err
		}
		return d.Delete(key)
	})
	if err != nil {
		return err
	}
	s.applied(c, revision, "")
	return c.done()
}

// formBool reads yes or no from a form; a field that is missing or empty means no.
func formBool(form url.Values, name string) (bool, error) {
	text := form.Get(name)
	if text == "" || truthy(text) {
		return text != "", nil
	}
	yes, err := strconv.ParseBool(text)
	if err != nil {
		return false, invalid("the request", fault(name, "is %s, not true or false", printable(text)))
	}
	return yes, nil
}
