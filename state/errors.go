package state

import (
	"errors"
	"fmt"
	"strings"
)

// What can go wrong, to be compared with [errors.Is].
var (
	// ErrNotFound: an object that was named does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: a name is taken.
	ErrExists = errors.New("exists already")
	// ErrInUse: an object cannot be removed because another uses it.
	ErrInUse = errors.New("in use")
	// ErrInvalid: an object or a document breaks a rule. The error is an [*InvalidError].
	ErrInvalid = errors.New("invalid")
	// ErrPrecondition: the caller's own condition (If-Match) does not hold.
	ErrPrecondition = errors.New("precondition failed")
	// ErrConflict: others kept changing what the update read; nothing was changed.
	ErrConflict = errors.New("conflicting changes")
	// ErrUnavailable: the backend cannot take changes; this one was certainly not applied and never will be.
	ErrUnavailable = errors.New("store unavailable")
	// ErrUnknown: the change was sent, but whether it was applied could not be learned.
	ErrUnknown = errors.New("outcome unknown")
	// ErrTooLarge: the update exceeds the limits of one transaction; nothing was sent.
	ErrTooLarge = errors.New("too large")
	// ErrFenced: the term of leadership that the update carried is over; nothing was changed.
	ErrFenced = errors.New("term of leadership is over")
	// ErrForeignKey: a document is sealed with another encryption key.
	ErrForeignKey = errors.New("sealed with another encryption key")
)

// Error is one of the sentinels above with the object it is about and a sentence for people.
type Error struct {
	// Reason is the sentinel.
	Reason error
	// Key is the object; the zero Key if there is none.
	Key Key
	// Field is the member of the caller's object that is at fault, such as "aliases[1]"; may be empty.
	Field string
	// Message is a sentence for people, without a final stop.
	Message string
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Reason }

// Errorf returns an [*Error] for the sentinel reason.
func Errorf(reason error, key Key, field, format string, args ...any) error {
	return &Error{Reason: reason, Key: key, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Fault is one broken rule.
type Fault struct {
	// Field is the path of the faulty member, such as "sites[3].aliases[0]"; "" is the whole.
	Field string
	// Line and Column count from 1 (columns in bytes) in the document that was read; 0 where there is none.
	Line, Column int
	// Message says what is wrong, without a final stop.
	Message string
}

func (f Fault) String() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", f.Line, f.Column)
	}
	if f.Field != "" {
		b.WriteString(f.Field)
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// InvalidError carries every fault that was found. It is [ErrInvalid].
type InvalidError struct {
	// Subject is what is invalid, such as "site example.org" or "state document".
	Subject string
	Faults  []Fault
}

func (e *InvalidError) Error() string {
	if len(e.Faults) == 1 {
		return e.Subject + ": " + e.Faults[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d faults:", e.Subject, len(e.Faults))
	for i, f := range e.Faults {
		if i == maxFaultsShown {
			fmt.Fprintf(&b, "\n  … and %d more", len(e.Faults)-i)
			break
		}
		b.WriteString("\n  ")
		b.WriteString(f.String())
	}
	return b.String()
}

// maxFaultsShown bounds an error's text; Faults has them all.
const maxFaultsShown = 100

func (e *InvalidError) Unwrap() error { return ErrInvalid }

// invalid returns an [*InvalidError] for faults, or nil if there are none.
func invalid(subject string, faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	return &InvalidError{Subject: subject, Faults: faults}
}
