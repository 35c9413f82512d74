//go:build unix

package bundle

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock of a file that nobody else has open, without waiting. It ends with the process.
func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			return err
		}
	}
}
