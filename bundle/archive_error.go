package bundle

import (
	"errors"
	"fmt"
)

// ArchiveError says that an archive cannot be used, whatever is tried: it is damaged, of another type than
// declared, or has an entry that is refused. Its creator has to make a better one. Limits are reported by
// [ErrTooLarge] instead.
type ArchiveError struct {
	// Entry is the name of the entry at fault, as written in the archive; "" if it is the archive itself.
	Entry string
	// Reason says what is wrong.
	Reason string
	// Err is what a decoder said; may be nil.
	Err error
}

// Error names the entry, the reason and the cause.
func (e *ArchiveError) Error() string {
	text := e.Reason
	if e.Entry != "" {
		text = fmt.Sprintf("archive entry %s: %s", quoteName(e.Entry), e.Reason)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *ArchiveError) Unwrap() error { return e.Err }

// quoteName makes a name from an archive harmless in messages and logs.
func quoteName(name string) string {
	const limit = 200
	if len(name) > limit {
		return fmt.Sprintf("%q…", name[:limit])
	}
	return fmt.Sprintf("%q", name)
}

// damaged returns an ArchiveError for what a decoder said, except for a limit, which stays what it is.
func damaged(entry, reason string, err error) error {
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	return &ArchiveError{Entry: entry, Reason: reason, Err: err}
}
