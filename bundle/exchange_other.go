//go:build !linux

package bundle

import "errors"

// exchange would swap two paths in one step.
func exchange(_, _ string) error { return errors.ErrUnsupported }
