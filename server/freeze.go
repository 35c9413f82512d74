package server

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"statiko/api"
)

// Limits of a freeze.
const (
	// maxFreeze bounds how long a node refuses changes if whoever asked for it is never heard of again.
	maxFreeze = 600 * time.Second
	// freezePatience is how long a change that is under way may take to let the freeze begin.
	freezePatience = 15 * time.Second
	// maxReason bounds texts that callers put into answers to others, in bytes.
	maxReason = 500
)

// gate returns the gate before the store.
func (s *Server) gate() (*Gate, error) {
	if g, ok := s.Store.(*Gate); ok {
		return g, nil
	}
	return nil, api.Errorf(api.CodeInvalid, "this node cannot be frozen")
}

// freeze answers POST /freeze.
func (s *Server) freeze(c *call) error {
	g, err := s.gate()
	if err != nil {
		return err
	}
	var body api.Freeze
	if err := c.decode(&body, nil); err != nil {
		return err
	}
	if body.Moved != nil {
		return s.moved(c, g, body)
	}
	d := time.Duration(body.Seconds) * time.Second
	switch {
	case body.Seconds < 1 || body.Seconds > int(maxFreeze/time.Second):
		return invalid("the request", fault("seconds", "is not 1 to %d", int(maxFreeze/time.Second)))
	case len(body.Reason) > maxReason:
		return invalid("the request", fault("reason", "is longer than %d bytes", maxReason))
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), freezePatience)
	defer cancel()
	f, err := g.freeze(ctx, body.Token, body.Reason, d)
	if err != nil {
		return err
	}
	if body.Token == "" {
		s.Log.Info("changes are refused for a while", zap.Time("until", f.until), zap.String("reason", f.reason))
	}
	return s.frozen(c, g, f)
}

// moved answers POST /freeze with the member moved.
func (s *Server) moved(c *call, g *Gate, body api.Freeze) error {
	if body.Moved.Target == "" || len(body.Moved.Target) > maxReason || len(body.Moved.TargetID) > maxReason {
		return invalid("the request", fault("moved.target", "is missing or too long"))
	}
	f, err := g.move(body.Token, *body.Moved)
	if err != nil {
		return err
	}
	s.Log.Warn("the state was moved; this node refuses changes until it is started with another configuration", zap.String("to", body.Moved.Target))
	return s.frozen(c, g, f)
}

func (s *Server) frozen(c *call, g *Gate, f freeze) error {
	answer := api.Frozen{Token: f.token, Revision: s.snapshot(c).Revision(), Store: g.Store.Health().Backend}
	if !f.moved {
		answer.Until = f.until.UTC()
	}
	if m, err := g.movable(); err == nil {
		answer.File = m.Path()
	}
	return c.json(http.StatusOK, answer)
}

// unfreeze answers POST /unfreeze.
func (s *Server) unfreeze(c *call) error {
	g, err := s.gate()
	if err != nil {
		return err
	}
	var body api.Unfreeze
	if err := c.decode(&body, nil); err != nil {
		return err
	}
	if err := g.thaw(body.Token, body.Force); err != nil {
		return err
	}
	s.Log.Info("changes are taken again")
	return c.done()
}

// unlessFrozen refuses at once what would only be refused at its end, after a long upload.
func unlessFrozen(h handler) handler {
	return func(s *Server, c *call) error {
		if g, ok := s.Store.(*Gate); ok {
			if err := g.Frozen(); err != nil {
				return err
			}
		}
		return h(s, c)
	}
}

// retryAfter returns the value of Retry-After for an answer 503, in seconds.
func retryAfter(e *api.Error) string {
	return strconv.Itoa(int(math.Ceil(max(time.Second, e.RetryAfter).Seconds())))
}
