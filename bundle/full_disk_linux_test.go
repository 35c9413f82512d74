package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of this many bytes, and skips the test where that is not permitted.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mount of a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func TestFullDisk_LeavesNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 1<<20)
	noise := make([]byte, 900_000)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(r.Uint32()) & 0x3f // compresses to three quarters
	}
	s, err := NewStager(StagerOptions{Dir: filepath.Join(disk, "apps")})
	if err != nil {
		t.Fatal(err)
	}
	for name, items := range map[string][]item{
		"while unpacking":   {{name: "a.bin", content: string(noise)}, {name: "b.bin", content: string(noise)}},
		"while compressing": {{name: "a.txt", content: string(noise)}},
	} {
		if _, err := s.Stage(context.Background(), request(t, buildZip(t, items...), "zip")); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v; want ENOSPC", name, err)
		}
		wantNothingLeft(t, s)
	}
	if _, err := NewSpool(context.Background(), disk, bytes.NewReader(make([]byte, 2<<20)), 1<<30); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("spool: %v; want ENOSPC", err)
	}
	if left, err := os.ReadDir(disk); err != nil || len(left) != 1 {
		t.Errorf("left on the disk: %v, %v", left, err)
	}
	if _, err := s.Stage(context.Background(), request(t, buildSite(t, "zip"), "zip")); err != nil {
		t.Errorf("a bundle that fits, afterwards: %v", err)
	}
}
