package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"statiko/state"
)

// overTheWire returns the error as a client sees it.
func overTheWire(t *testing.T, e *Error) *Error {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	got := &Error{Status: e.Status}
	if err := json.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestErrors_SameOnBothSides(t *testing.T) {
	t.Parallel()
	sentinels := []error{
		state.ErrNotFound, state.ErrExists, state.ErrInUse, state.ErrInvalid, state.ErrPrecondition, state.ErrConflict,
		state.ErrUnavailable, state.ErrUnknown, state.ErrTooLarge, state.ErrForeignKey,
	}
	for _, want := range sentinels {
		err := fmt.Errorf("store: %w", state.Errorf(want, state.Key{Kind: state.KindSite, Name: "a.example"}, "domain", "what happened"))
		served := FromState(err)
		if !errors.Is(served, want) {
			t.Errorf("served %v is not %v", served, want)
		}
		if served.Status != StatusOf(served.Code) || served.Status == http.StatusInternalServerError {
			t.Errorf("%v: status %d, code %s", want, served.Status, served.Code)
		}
		got := overTheWire(t, served)
		for _, other := range sentinels {
			if errors.Is(got, other) != (other == want) {
				t.Errorf("%v came over the wire; is it %v? %v", want, other, errors.Is(got, other))
			}
		}
		if got.Message != "what happened" || got.Details[0].Field != "domain" {
			t.Errorf("message %q, details %v", got.Message, got.Details)
		}
	}
}

func TestErrors_EveryFaultWithItsPlace(t *testing.T) {
	t.Parallel()
	want := &state.InvalidError{Subject: "state document", Faults: []state.Fault{
		{Field: "sites[3].aliases[0]", Line: 7, Column: 12, Message: "is taken"}, {Message: "has no member sites"},
	}}
	got := overTheWire(t, FromState(fmt.Errorf("restore: %w", want)))
	inv, ok := errors.AsType[*state.InvalidError](error(got))
	if !ok || !reflect.DeepEqual(inv, want) {
		t.Fatalf("got %#v", inv)
	}
	if text := got.Error(); !strings.Contains(text, "\n  line 7, column 12: sites[3].aliases[0]: is taken\n") {
		t.Errorf("text is %q", text)
	}
}

func TestErrors_InternalCausesStayInside(t *testing.T) {
	t.Parallel()
	cause := errors.New("open /var/lib/secret-place: permission denied")
	e := FromState(cause)
	if e.Code != CodeInternal || strings.Contains(e.Error(), "secret-place") {
		t.Errorf("got %s: %v", e.Code, e)
	}
	if !errors.Is(e, cause) {
		t.Error("the cause is lost for the log")
	}
	if e := FromState(fmt.Errorf("update: %w", context.DeadlineExceeded)); e.Code != CodeUnavailable {
		t.Errorf("a deadline is %s", e.Code)
	}
	if e := FromState(fmt.Errorf("x: %w", state.ErrFenced)); e.Code != CodeUnavailable {
		t.Errorf("a lost term is %s", e.Code)
	}
	if FromState(nil) != nil {
		t.Error("nil is an error")
	}
	if own := Errorf(CodeForbidden, "no"); FromState(fmt.Errorf("x: %w", own)) != own {
		t.Error("an error of the API is not kept")
	}
}

func TestErrors_TableIsTwoWay(t *testing.T) {
	t.Parallel()
	codesSeen, sentinelsSeen := map[string]bool{}, map[error]bool{}
	for _, c := range codes {
		if codesSeen[c.code] || c.sentinel != nil && sentinelsSeen[c.sentinel] {
			t.Errorf("row %q is not unique", c.code)
		}
		codesSeen[c.code], sentinelsSeen[c.sentinel] = true, true
		if http.StatusText(c.status) == "" {
			t.Errorf("%q has status %d", c.code, c.status)
		}
	}
	for status, want := range map[int]string{401: CodeUnauthorized, 404: CodeNotFound, 409: CodeConflict, 418: CodeMalformed,
		500: CodeInternal, 502: CodeInternal, 503: CodeUnavailable} {
		if got := codeOf(status); got != want {
			t.Errorf("status %d is %q, not %q", status, got, want)
		}
	}
}
