package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"

	"go.uber.org/zap"

	"statiko/api"
	"statiko/state"
)

const jsonType = "application/json; charset=utf-8"

// json answers with a value.
func (c *call) json(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.body(status, jsonType, append(body, '\n'))
	return nil
}

// body answers with bytes. That the caller went away meanwhile is no fault of ours.
func (c *call) body(status int, contentType string, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body)
}

// done answers a change that has nothing to tell.
func (c *call) done() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// writeError is the one place where errors become answers.
func (s *Server) writeError(c *call, err error) {
	e := s.apiError(c, err)
	if c.w.status != 0 {
		s.Log.Warn("an answer could not be finished", zap.String("route", c.route), zap.Error(err))
		return
	}
	h := c.w.Header()
	switch e.Status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter(e))
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="statiko"`)
	}
	if err := c.json(e.Status, e); err != nil {
		s.Log.Error("an error could not be written", zap.String("route", c.route), zap.Error(err))
	}
}

// apiError finds the answer to an error. What callers cannot do anything about is logged, and they get a reference.
func (s *Server) apiError(c *call, err error) *api.Error {
	var own *api.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &tooLarge):
		return api.Errorf(api.CodeTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		s.Log.Error("the disk is full", zap.String("route", c.route), zap.Error(err))
		return api.Errorf(api.CodeDiskFull, "the node's disk is full; nothing was changed")
	case c.r.Context().Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return api.Errorf(api.CodeUnavailable, "the request ended before it could be carried out")
	}
	e := api.FromState(err)
	if e.Code != api.CodeInternal {
		return e
	}
	ref := reference()
	s.Log.Error("request failed", zap.String("reference", ref), zap.String("method", c.r.Method),
		zap.String("route", c.route), zap.Error(err))
	return internalError(ref)
}

func internalError(reference string) *api.Error {
	return api.Errorf(api.CodeInternal, "internal error; the node's log has the cause under the reference %s", reference)
}

// malformed says that a request cannot be read.
func malformed(format string, args ...any) *api.Error {
	return api.Errorf(api.CodeMalformed, format, args...)
}

// notFound says that an object does not exist.
func notFound(format string, args ...any) *api.Error {
	return api.Errorf(api.CodeNotFound, format, args...)
}

// invalid says what is wrong with an object, fault by fault.
func invalid(subject string, faults ...state.Fault) error {
	return &state.InvalidError{Subject: subject, Faults: faults}
}

// fault is one of them.
func fault(field, format string, args ...any) state.Fault {
	return state.Fault{Field: field, Message: fmt.Sprintf(format, args...)}
}

// printable quotes what a caller sent, shortened, for a message.
func printable(text string) string {
	const limit = 200
	if len(text) > limit {
		text = text[:limit] + "…"
	}
	return strconv.Quote(text)
}
