package bundle

import (
	"fmt"
	"strings"
)

// ManifestError reports everything that is wrong in a manifest.
type ManifestError struct {
	// Name is the manifest's file name.
	Name string
	// Faults is never empty and sorted by line.
	Faults []ManifestFault
}

// ManifestFault is one fault in a manifest.
type ManifestFault struct {
	// Line and Column begin at 1; 0 means that the place is not known.
	Line, Column int
	// Field names the place within the document, such as "rules[0].options.proxy"; "" is the document itself.
	Field string
	// Message says what is wrong and what would be right.
	Message string
}

// Error returns one line a fault: name:line: field: message.
func (e *ManifestError) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Name)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d", f.Line)
		}
		b.WriteString(": ")
		if f.Field != "" {
			b.WriteString(f.Field)
			b.WriteString(": ")
		}
		b.WriteString(f.Message)
	}
	return b.String()
}
