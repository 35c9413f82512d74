//go:build !linux

package bundle

// syncTree makes the content of a folder durable.
func syncTree(dir string) error { return syncEach(dir) }
