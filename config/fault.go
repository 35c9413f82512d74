package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxFaults bounds how many faults are collected; who gets so many has given a wrong file.
const maxFaults = 100

// Fault is one thing that is wrong with a configuration. Messages never contain the value of a secret.
type Fault struct {
	// File is the file at fault, or the one in which the key is missing; "" if no file was read.
	File string
	// Line and Column count from 1; 0 means that the fault has no place in the file.
	Line, Column int
	// Key is the dotted name of the key; "" if the fault belongs to none, as a syntax error does.
	Key string
	// Env is the environment variable that the value came from; "" if it did not.
	Env string
	// Message says what is wrong and what to do.
	Message string
}

// Error returns the fault on one line: "file:line: key: message".
func (f Fault) Error() string {
	var b strings.Builder
	switch {
	case f.Env != "":
		b.WriteString("environment variable " + f.Env)
	case f.File != "":
		b.WriteString(f.File)
		if f.Line > 0 {
			b.WriteString(":" + strconv.Itoa(f.Line))
		}
	default:
		b.WriteString("configuration")
	}
	if f.Key != "" {
		b.WriteString(": " + f.Key)
	}
	return b.String() + ": " + f.Message
}

// FaultsError holds every fault of a configuration: those with a place in the file first, by line; then the others,
// in the order of the documentation.
type FaultsError struct{ Faults []Fault }

// Error lists the faults, one a line.
func (e *FaultsError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Warning is something that does not keep the node from starting but that its owner should know. Its fields are
// those of [Fault].
type Warning Fault

// String returns the warning on one line: "file:line: key: message".
func (w Warning) String() string { return Fault(w).Error() }

// place is where a value was written.
type place struct {
	line, col int
	env       string
	// empty tells that the key is written there without a value, which is as if it were not.
	empty bool
	// items are the places of a list's items.
	items []place
}

func (l *loader) faultAt(p place, key, format string, args ...any) {
	if len(l.faults) >= maxFaults {
		return
	}
	f := Fault{Key: printable(key), Message: printable(fmt.Sprintf(format, args...))}
	if p.env != "" {
		f.Env = p.env
	} else {
		f.File, f.Line, f.Column = l.File, p.line, p.col
	}
	l.faults = append(l.faults, f)
}

func (l *loader) warnAt(p place, key, format string, args ...any) {
	w := Warning{Key: printable(key), Message: printable(fmt.Sprintf(format, args...))}
	if p.env != "" {
		w.Env = p.env
	} else {
		w.File, w.Line, w.Column = l.File, p.line, p.col
	}
	l.warnings = append(l.warnings, w)
}

// err returns the faults found so far in order, or nil.
func (l *loader) err() error {
	if len(l.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(l.faults, func(a, b Fault) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &FaultsError{Faults: l.faults}
}

// printable keeps what a user wrote from breaking the line that it is reported on.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
	return clip(s, 600)
}

// clip shortens what a user wrote to about n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
