package server

import (
	"errors"
	"math"
	"net/http"
	"net/url"

	"statiko/api"
	"statiko/dhparams"
	"statiko/state"
)

// getDHParams answers GET /dhparams.
func (s *Server) getDHParams(c *call) error {
	snap := s.snapshot(c)
	answer := api.DHParams{Type: "builtin", Bits: s.builtinDH.Bits()}
	if p, ok := s.Generating(); ok {
		answer.Generating, answer.Tried = true, p.Tried
		answer.Expected, answer.Elapsed = int64(math.Round(p.Expected)), float64(p.Elapsed.Milliseconds())/1000
	}
	if own, ok := snap.DHParams(); ok {
		answer.Type, answer.Date, answer.Bits = "cluster", &own.Time, 0
		if p, err := dhparams.Parse(own.PEM); err == nil {
			answer.Bits = p.Bits()
		}
		c.setETag(snap.Head().Generation, snap.RevisionOf(own.Key()))
	}
	return c.json(http.StatusOK, answer)
}

// setDHParams answers POST /dhparams.
func (s *Server) setDHParams(c *call) error {
	var body api.DHParamsImport
	if err := c.decode(&body, func(form url.Values) error {
		body.DHParams = form.Get("dhparams")
		return nil
	}); err != nil {
		return err
	}
	params, err := s.checkDHParams(c, body.DHParams)
	if err != nil {
		return err
	}
	made := &state.DHParams{Time: s.Now().UTC(), PEM: params.PEM()}
	var generation, before int64
	var same bool
	revision, err := s.update(c, func(d *state.Draft) error {
		generation, before = d.Snapshot().Head().Generation, d.Revision(made.Key())
		if err := c.checkMatch(d, made.Key()); err != nil {
			return err
		}
		old, ok := d.DHParams()
		if same = ok && old.PEM == made.PEM; same {
			return nil
		}
		return d.Put(made)
	})
	if err != nil {
		return err
	}
	if same {
		c.setETag(generation, before)
	} else {
		c.setETag(generation, revision)
	}
	s.applied(c, revision, "")
	return c.done()
}

// checkDHParams reads parameters and refuses unsafe ones with all reasons. The tests for primes take a core for
// seconds, so only one request at a time makes them.
func (s *Server) checkDHParams(c *call, text string) (*dhparams.Params, error) {
	const subject, field = "the set of parameters", "dhparams"
	if text == "" {
		return nil, invalid(subject, fault(field, "is missing: the text of a PEM block DH PARAMETERS"))
	}
	params, err := dhparams.Parse(text)
	if err != nil {
		return nil, invalid(subject, fault(field, "%v", err))
	}
	if params.Equal(s.builtinDH) {
		return nil, invalid(subject, fault(field,
			"these are the built-in parameters (RFC 7919, ffdhe%d), which are used as long as no others are set", params.Bits()))
	}
	select {
	case s.checkingDH <- struct{}{}:
		defer func() { <-s.checkingDH }()
	case <-c.r.Context().Done():
		return nil, c.r.Context().Err()
	}
	err = params.Check(s.AllowWeakDH)
	if err == nil {
		return params, nil
	}
	check, ok := errors.AsType[*dhparams.CheckError](err)
	if !ok {
		return nil, err
	}
	var faults []state.Fault
	for _, f := range check.Faults {
		faults = append(faults, fault(field, "%s", f.Text))
	}
	return nil, invalid(subject, faults...)
}
