//go:build !linux

package dhparams

// atLowPriority runs f. Only Linux has a priority for each thread.
func atLowPriority(f func()) { f() }
