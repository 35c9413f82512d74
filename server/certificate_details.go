package server

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"statiko/api"
	"statiko/certs"
	"statiko/state"
)

// certificateDetails answers GET /certificate?details=1.
func (s *Server) certificateDetails(c *call) error {
	snap, now := s.snapshot(c), s.Now()
	list := []api.CertificateDetails{}
	for sec := range snap.Secrets(state.PrefixImported) {
		list = append(list, s.describeCertificate(snap, sec, now))
	}
	return c.json(http.StatusOK, list)
}

func (s *Server) describeCertificate(snap *state.Snapshot, sec *state.Secret, now time.Time) api.CertificateDetails {
	d := api.CertificateDetails{
		Name:  strings.TrimPrefix(sec.Name, state.PrefixImported),
		Sites: slices.Collect(snap.Users(sec.Key())), ETag: etag(snap.Head().Generation, snap.RevisionOf(sec.Key())),
	}
	info, err := certs.InspectSealed(s.Keyring, sec)
	if err != nil {
		d.Error = "it cannot be read: " + err.Error()
		return d
	}
	from, to := info.NotBefore.UTC(), info.NotAfter.UTC()
	days := int(math.Floor(to.Sub(now).Hours() / 24))
	d.Names, d.Issuer, d.KeyType = info.Names, info.Issuer, info.KeyType
	d.NotBefore, d.NotAfter, d.DaysLeft = &from, &to, &days
	return d
}
