package nginx

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nginx is killed while the disk is full: it starts again, and what a killed node left of it is found.
func TestFault_KilledOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	switch err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); {
	case errors.Is(err, unix.EPERM):
		t.Skip("a small disk can be mounted by root only")
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := start(t, Options{Dir: dir})
	apply(t, s, page(t, "a.test", "I am a"))
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fill := func() {
		err := error(nil)
		for block := make([]byte, 4096); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
	}
	fill()
	// What nginx gives free as it ends is taken by others.
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
			fill()
		}
	})
	defer others.Wait()
	defer stop()
	first := masterOf(t, s)
	EndLeftover(s.paths.dir)
	for _, p := range processes() {
		if p.group == first {
			t.Errorf("process %d goes on: %s", p.id, p.title)
		}
	}
	wantBody(t, s, "a.test", "/", "I am a")
}
