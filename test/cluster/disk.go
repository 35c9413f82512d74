package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// CanMount tells whether a small disk can be mounted, by doing so: it takes root.
func CanMount(t testing.TB) bool {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		return false
	}
	return unix.Unmount(dir, 0) == nil
}

// HaveDisks tells whether nodes can have disks of their own, and notes it if not.
func HaveDisks(t testing.TB) bool {
	t.Helper()
	can := CanMount(t)
	if !can {
		t.Log("SKIPPED: no disk is filled: a small disk can be mounted by root only")
	}
	return can
}

// MountDisk mounts a disk of some size, such as "4m", which [Unmount] takes away.
func MountDisk(dir, size string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size)
}

// Unmount takes a disk away, whatever still uses it.
func Unmount(dir string) { _ = unix.Unmount(dir, unix.MNT_DETACH) }

// UseDisk has a node that does not run yet keep all that it keeps on a disk of its own, of some size such as "64m", which is
// unmounted when the node has ended with the test. Disk then is its folder.
func (n *Node) UseDisk(t testing.TB, size string) {
	t.Helper()
	n.Disk = filepath.Join(n.Dir, "disk")
	Must(t, MountDisk(n.Disk, size))
	n.after = append(n.after, func() { Unmount(n.Disk) })
	n.Settings["appRoot"], n.Settings["repo.local.path"] = filepath.Join(n.Disk, "data"), filepath.Join(n.Disk, "repo")
	Must(t, n.Write())
}

// ballast is the file that takes the space of a disk.
const ballast = ".ballast"

// FillDisk leaves no space on the disk that the folder is on.
func FillDisk(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, ballast), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill %s: %w", dir, err)
	}
	return nil
}

// FreeDisk frees what FillDisk took.
func FreeDisk(dir string) error { return os.Remove(filepath.Join(dir, ballast)) }
