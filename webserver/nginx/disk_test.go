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

// smallDisk gives a folder for nginx a disk of its own.
func smallDisk(t testing.TB, dir string) {
	t.Helper()
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
}

// fill leaves no space on the disk of a folder until the returned function is called: what others give free is taken
// at once.
func fill(t testing.TB, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	take := func() {
		err := error(nil)
		for block := make([]byte, 4096); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
	}
	take()
	ctx, stop := context.WithCancel(context.Background())
	var taker sync.WaitGroup
	taker.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
			take()
		}
	})
	free = sync.OnceFunc(func() {
		stop()
		taker.Wait()
		if err := errors.Join(f.Close(), os.Remove(path)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(free)
	return free
}

// nginx is killed while the disk is full: it starts again, and what a killed node left of it is found.
func TestFault_KilledOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	smallDisk(t, dir)
	s := start(t, Options{Dir: dir})
	apply(t, s, page(t, "a.test", "I am a"))
	fill(t, dir)
	first := masterOf(t, s)
	EndLeftover(s.paths.dir)
	for _, p := range processes() {
		if p.group == first {
			t.Errorf("process %d goes on: %s", p.id, p.title)
		}
	}
	wantBody(t, s, "a.test", "/", "I am a")
}
