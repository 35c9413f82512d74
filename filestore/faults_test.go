package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"statiko/state"
)

// Weakness W4 of the earlier program: a write that failed left memory changed.
func TestW4_FailedWriteLeavesMemoryUnchanged(t *testing.T) {
	t.Parallel()
	for name, fail := range faults {
		path := newPath(t)
		fsys := &faultFS{}
		o := quietly(path)
		o.FS = fsys
		s := open(t, o)
		mustPut(t, s, siteOf("a.test"))
		before := s.Snapshot()
		fsys.set(fail)
		_, err := tryPut(s, siteOf("b.test"))
		if !errors.Is(err, state.ErrUnavailable) && !errors.Is(err, state.ErrUnknown) {
			t.Fatalf("%s: got %v", name, err)
		}
		doc, _ := state.ParseDocument([]byte(`{"sites":[{"domain":"c.test"}]}`))
		if _, err := s.Restore(context.Background(), doc, 0); err == nil {
			t.Fatalf("%s: the restore succeeded", name)
		}
		if s.Snapshot() != before {
			t.Fatalf("%s: the snapshot has changed: %s", name, domains(s.Snapshot()))
		}
		fsys.set(nil)
		mustPut(t, s, siteOf("d.test"))
		wantDomains(t, s, "a.test d.test")
		wantDomains(t, open(t, quietly(killed(t, path))), "a.test d.test")
	}
}

func TestFaults_CauseIsVisible(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail    func(op, name string) error
		outcome error
		cause   error
	}{
		"full":                       {faults["full"], state.ErrUnavailable, syscall.ENOSPC},
		"sync fails":                 {faults["sync fails"], state.ErrUnknown, syscall.EIO},
		"neither write nor truncate": {faults["neither write nor truncate"], state.ErrUnknown, syscall.EIO},
		"one sync fails": {func() func(op, name string) error {
			failed := false
			return func(op, name string) error {
				if op == "sync" && !failed {
					failed = true
					return syscall.EIO
				}
				return nil
			}
		}(), state.ErrUnavailable, syscall.EIO},
	} {
		fsys := &faultFS{}
		o := quietly(newPath(t))
		o.FS = fsys
		s := open(t, o)
		fsys.set(c.fail)
		_, err := tryPut(s, siteOf("a.test"))
		if !errors.Is(err, c.outcome) || !errors.Is(err, c.cause) || !strings.Contains(err.Error(), "state.json.journal") {
			t.Errorf("%s: got %v", name, err)
		}
		if h := s.Health(); h.Healthy || !strings.Contains(h.Reason, s.Path()) || !strings.Contains(h.Reason, c.cause.Error()) {
			t.Errorf("%s: health is %+v", name, h)
		}
		fsys.set(nil)
	}
}

// After an fsync that failed the kernel may have thrown away what it still shows, so everything is written anew.
func TestFaults_AfterAFailedSyncEverythingIsWrittenAnew(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	fsys := &faultFS{}
	o := quietly(path)
	o.FS = fsys
	s := open(t, o)
	mustPut(t, s, siteOf("a.test"))
	failed := false
	fsys.set(func(op, name string) error {
		if op == "sync" && !failed {
			failed = true
			return syscall.EIO
		}
		return nil
	})
	if _, err := tryPut(s, siteOf("b.test")); !errors.Is(err, state.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if text := readText(t, path); !strings.Contains(text, "a.test") || strings.Contains(text, "b.test") {
		t.Fatalf("the document is\n%s", text)
	}
	if text := readText(t, path+".journal"); strings.Contains(text, ".test") {
		t.Fatalf("the journal is\n%s", text)
	}
	mustPut(t, s, siteOf("c.test"))
	if !s.Health().Healthy {
		t.Fatalf("health is %+v", s.Health())
	}
}

// While the outcome of a change is unknown, no other is taken, and repairing settles that it was not made.
func TestFaults_UnknownIsSettledByWritingAnew(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	fsys := &faultFS{}
	o := quietly(path)
	o.FS = fsys
	o.checkEvery, o.retryAfter = 5*time.Millisecond, 5*time.Millisecond
	s := open(t, o)
	mustPut(t, s, siteOf("a.test"))
	fsys.set(faults["sync fails"])
	if _, err := tryPut(s, siteOf("b.test")); !errors.Is(err, state.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	if _, err := tryPut(s, siteOf("c.test")); !errors.Is(err, state.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	fsys.set(nil)
	// It repairs itself, without a change that asks for it.
	eventually(t, func() error {
		if h := s.Health(); !h.Healthy {
			return fmt.Errorf("health is %+v", h)
		}
		return nil
	})
	wantDomains(t, s, "a.test")
	wantDomains(t, open(t, quietly(killed(t, path))), "a.test")
}

// Changes go on in the journal when the document cannot be written, and Health says so.
func TestFaults_FoldThatFailsLosesNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	fsys := &faultFS{}
	o := quietly(path)
	o.FS = fsys
	s := open(t, o)
	for i, step := range []string{"open state.json.fold", "write state.json.fold", "sync state.json.fold", "rename state.json",
		"open state.json.journal.new", "write state.json.journal.new", "sync state.json.journal.new", "rename state.json.journal"} {
		fsys.set(func(op, name string) error {
			if op+" "+name[strings.LastIndex(name, "/")+1:] == step {
				return syscall.EDQUOT
			}
			return nil
		})
		mustPut(t, s, siteOf(fmt.Sprintf("n%d.test", i)))
		if _, err := s.do(context.Background(), &request{}); !errors.Is(err, syscall.EDQUOT) {
			t.Fatalf("%s: the fold returned %v", step, err)
		}
		if h := s.Health(); !h.Healthy || !strings.Contains(h.Reason, "journal") {
			t.Fatalf("%s: health is %+v", step, h)
		}
		mustPut(t, s, siteOf(fmt.Sprintf("m%d.test", i)))
		copied := open(t, quietly(killed(t, path)))
		if n := copied.Snapshot().Len(state.KindSite); n != 2*i+2 {
			t.Fatalf("%s: %d sites of %d", step, n, 2*i+2)
		}
		copied.Close()
	}
	fsys.set(nil)
	fold(t, s)
	if h := s.Health(); !h.Healthy || h.Reason != "" {
		t.Fatalf("health is %+v", h)
	}
	if text := readText(t, path+".journal"); strings.Contains(text, ".test") {
		t.Fatalf("the journal is\n%s", text)
	}
}

// A fold that was begun before a restore must not put its older document over the restored one.
func TestFaults_RestoreDuringAFold(t *testing.T) {
	t.Parallel()
	for _, journalFails := range []bool{false, true} {
		path := newPath(t)
		fsys := newBlockingFS(suffixFold)
		o := quietly(path)
		o.FS = fsys
		s := open(t, o)
		mustPut(t, s, siteOf("old.test"))
		fsys.armed.Store(true)
		if _, err := s.do(context.Background(), &request{begin: true}); err != nil {
			t.Fatal(err)
		}
		<-fsys.entered
		if journalFails {
			fsys.set(func(op, name string) error {
				if op == "write" && strings.HasSuffix(name, suffixJournal) {
					return syscall.EIO
				}
				return nil
			})
		}
		doc, err := state.ParseDocument([]byte(`{"sites":[{"domain":"new.test"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Restore(context.Background(), doc, 0); err != nil {
			t.Fatal(err)
		}
		mustPut(t, s, siteOf("later.test"))
		close(fsys.release)
		fsys.set(nil)
		eventually(t, func() error {
			if _, err := os.Stat(path + suffixFold); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("the fold goes on: %v", err)
			}
			return nil
		})
		// The fold was the last thing that the committer did, or this waits for it.
		mustPut(t, s, siteOf("later.test", "www.later.test"))
		wantDomains(t, s, "later.test new.test")
		wantDomains(t, open(t, quietly(killed(t, path))), "later.test new.test")
		s.Close()
		wantDomains(t, open(t, quietly(path)), "later.test new.test")
	}
}

// Commits go on while a fold is written, and are in the journal that it leaves.
func TestFold_CommitsGoOnMeanwhile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	fsys := newBlockingFS(suffixFold)
	o := quietly(path)
	o.FS = fsys
	s := open(t, o)
	mustPut(t, s, siteOf("a.test"))
	fsys.armed.Store(true)
	if _, err := s.do(context.Background(), &request{begin: true}); err != nil {
		t.Fatal(err)
	}
	<-fsys.entered
	mustPut(t, s, siteOf("b.test"), &state.Record{Kind: state.KindEvent, Name: "e", Data: []byte("1")})
	mustPut(t, s, siteOf("c.test"))
	close(fsys.release)
	eventually(t, func() error {
		if text := readText(t, path); !strings.Contains(text, "a.test") {
			return fmt.Errorf("the document is not folded: %s", text)
		}
		return nil
	})
	mustPut(t, s, siteOf("d.test"))
	if text := readText(t, path); strings.Contains(text, "b.test") {
		t.Fatalf("the document has what came after it was begun:\n%s", text)
	}
	again := open(t, quietly(killed(t, path)))
	wantDomains(t, again, "a.test b.test c.test d.test")
	if n := again.Snapshot().Len(state.KindEvent); n != 1 {
		t.Fatalf("%d events", n)
	}
}

// A disk that hangs must not hold its callers longer than they want to wait.
func TestFaults_HangingDiskIsUnknown(t *testing.T) {
	t.Parallel()
	fsys := newBlockingFS(suffixJournal)
	o := quietly(newPath(t))
	o.FS, o.grace = fsys, time.Millisecond
	s := open(t, o)
	fsys.armed.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Update(ctx, func(d *state.Draft) error { return d.Put(siteOf("a.test")) })
	if !errors.Is(err, state.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	<-fsys.entered
	// Who comes now is not sent.
	ctx, cancelNext := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancelNext()
	if _, err := s.Update(ctx, func(d *state.Draft) error { return d.Put(siteOf("b.test")) }); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	wantDomains(t, s, "")
	close(fsys.release)
	mustPut(t, s, siteOf("c.test"))
	wantDomains(t, s, "a.test c.test")
}

// blockingFS holds, once it is armed, the next Sync of a file whose name at its opening had the suffix.
type blockingFS struct {
	*faultFS
	suffix  string
	armed   atomic.Bool
	entered chan struct{}
	release chan struct{}
}

func newBlockingFS(suffix string) *blockingFS {
	return &blockingFS{faultFS: &faultFS{}, suffix: suffix, entered: make(chan struct{}), release: make(chan struct{})}
}

func (b *blockingFS) OpenFile(name string, flag int, mode fs.FileMode) (File, error) {
	f, err := b.faultFS.OpenFile(name, flag, mode)
	if err != nil || !strings.HasSuffix(name, b.suffix) {
		return f, err
	}
	return &blockingFile{File: f, fs: b}, nil
}

type blockingFile struct {
	File
	fs *blockingFS
}

func (f *blockingFile) Sync() error {
	if f.fs.armed.CompareAndSwap(true, false) {
		close(f.fs.entered)
		<-f.fs.release
	}
	return f.File.Sync()
}
