package filestore

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A child process that is being started has a copy of every descriptor until it executes its program. The lock must
// not stay with it.
func TestLock_IsGivenBackDespiteACopiedDescriptor(t *testing.T) {
	t.Parallel()
	name := newPath(t) + ".lock"
	lock, err := osFS{}.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	inChild, err := unix.Dup(int(lock.(heldLock).Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inChild)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := osFS{}.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
