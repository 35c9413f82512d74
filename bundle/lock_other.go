//go:build !unix

package bundle

import "os"

// lockFile does nothing here: nodes run on Linux, other systems only run stkcli.
func lockFile(*os.File) error { return nil }
