package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"statiko/state"
)

// codes is the table of error codes: the HTTP status of each, and the error of package state that it stands for
// (nil for those that only HTTP knows). Where several codes share a status, the first is what an answer without a
// code is taken for; an error of package state belongs to one code.
var codes = [...]struct {
	code     string
	status   int
	sentinel error
}{
	{CodeMalformed, http.StatusBadRequest, nil},
	{CodeUnauthorized, http.StatusUnauthorized, nil},
	{CodeForbidden, http.StatusForbidden, nil},
	{CodeNotFound, http.StatusNotFound, state.ErrNotFound},
	{CodeNoRoute, http.StatusNotFound, nil},
	{CodeMethod, http.StatusMethodNotAllowed, nil},
	{CodeConflict, http.StatusConflict, state.ErrConflict},
	{CodeExists, http.StatusConflict, state.ErrExists},
	{CodeInUse, http.StatusConflict, state.ErrInUse},
	{CodeNotDetached, http.StatusConflict, nil},
	{CodeHandover, http.StatusConflict, nil},
	{CodePrecondition, http.StatusPreconditionFailed, state.ErrPrecondition},
	{CodeTooLarge, http.StatusRequestEntityTooLarge, state.ErrTooLarge},
	{CodeMediaType, http.StatusUnsupportedMediaType, nil},
	{CodeInvalid, http.StatusUnprocessableEntity, state.ErrInvalid},
	{CodeForeignKey, http.StatusUnprocessableEntity, state.ErrForeignKey},
	{CodeTooMany, http.StatusTooManyRequests, nil},
	{CodeInternal, http.StatusInternalServerError, nil},
	{CodeUnavailable, http.StatusServiceUnavailable, state.ErrUnavailable},
	{CodeUnknown, http.StatusServiceUnavailable, state.ErrUnknown},
	{CodeNotReady, http.StatusServiceUnavailable, nil},
	{CodeReplicas, http.StatusServiceUnavailable, nil},
	{CodeFrozen, http.StatusServiceUnavailable, nil},
	{CodeStopping, http.StatusConflict, nil},
	{CodeDiskFull, http.StatusInsufficientStorage, nil},
}

// StatusOf returns the HTTP status of an error code; 500 for an unknown one.
func StatusOf(code string) int {
	for _, c := range codes {
		if c.code == code {
			return c.status
		}
	}
	return http.StatusInternalServerError
}

// codeOf returns the code that an answer with this status has if it does not say.
func codeOf(status int) string {
	for _, c := range codes {
		if c.status == status {
			return c.code
		}
	}
	if status >= 500 || status < 400 {
		return CodeInternal
	}
	return CodeMalformed
}

func sentinelOf(code string) error {
	for _, c := range codes {
		if c.code == code {
			return c.sentinel
		}
	}
	return nil
}

// Errorf returns an error with the code, its status, and a sentence for people.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Status: StatusOf(code), Code: code, Message: fmt.Sprintf(format, args...)}
}

// notValid ends the message of an error that was made from a [state.InvalidError]; its subject stands before.
const notValid = " is not valid"

// FromState returns the error that the API answers for err: an [*Error] in err's chain as it is; for errors of
// package state their code, message and faults; for everything else "internal", whose message does not show err,
// for it may tell of what is not the caller's business. The result unwraps to err. It is nil for nil.
func FromState(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if inv, ok := errors.AsType[*state.InvalidError](err); ok {
		e := Errorf(CodeInvalid, "%s%s", inv.Subject, notValid)
		if errors.Is(err, state.ErrForeignKey) {
			e = Errorf(CodeForeignKey, "%s%s", inv.Subject, notValid)
		}
		e.cause = err
		for _, f := range inv.Faults {
			e.Details = append(e.Details, Detail(f))
		}
		return e
	}
	e := &Error{Code: CodeInternal, Message: "internal error; the node's log says more", cause: err}
	for _, c := range codes {
		if c.sentinel != nil && errors.Is(err, c.sentinel) {
			e.Code, e.Message = c.code, err.Error()
		}
	}
	switch {
	case e.Code != CodeInternal:
	case errors.Is(err, state.ErrFenced):
		e.Code, e.Message = CodeUnavailable, "the leader changed meanwhile; nothing was changed"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		e.Code, e.Message = CodeUnavailable, "the request ended before anything was changed"
	}
	e.Status = StatusOf(e.Code)
	if s, ok := errors.AsType[*state.Error](err); ok && e.Code != CodeInternal {
		e.Message = s.Message
		if s.Field != "" {
			e.Details = []Detail{{Field: s.Field, Message: s.Message}}
		}
	}
	return e
}

// Error returns the message and every detail, each in a line of its own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, d := range e.Details {
		if d.Message == e.Message {
			continue
		}
		b.WriteString("\n  ")
		b.WriteString(d.String())
	}
	return b.String()
}

// Unwrap returns, on the serving side, what [FromState] made the error from and, in a client, the error of package
// state that the code stands for, so that errors.Is(err, state.ErrExists) says the same on both sides. A client's
// error for an invalid object is a [*state.InvalidError] with every fault.
func (e *Error) Unwrap() error {
	if e.cause != nil {
		return e.cause
	}
	if e.Code == CodeInvalid {
		inv := &state.InvalidError{Subject: strings.TrimSuffix(e.Message, notValid)}
		for _, d := range e.Details {
			inv.Faults = append(inv.Faults, state.Fault(d))
		}
		return inv
	}
	return sentinelOf(e.Code)
}

// String returns the place and the fault, such as "line 3, column 7: sites[0].domain: is empty".
func (d Detail) String() string { return state.Fault(d).String() }
