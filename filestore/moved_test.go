package filestore

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"statiko/state"
)

func markerOf(t testing.TB, s *state.Snapshot) Marker {
	t.Helper()
	digest, err := Digest(s)
	if err != nil {
		t.Fatal(err)
	}
	return Marker{Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Target: "etcd at http://etcd-1:2379 under /statiko",
		TargetID: "ID", KeyID: "0123abcd", Revision: s.Revision(), Digest: digest}
}

func TestMoved_FileIsNotServedFromUntilItIsInForceAgain(t *testing.T) {
	t.Parallel()
	o := Options{Path: newPath(t), KeyID: "0123abcd"}
	s := open(t, o)
	mustPut(t, s, siteOf("a.example.org"))
	if m, err := s.Moved(); m != nil || err != nil {
		t.Fatalf("moved before: %v, %v", m, err)
	}
	m := markerOf(t, s.Snapshot())
	late := m
	late.Revision--
	if err := s.MarkMoved(late); !errors.Is(err, state.ErrPrecondition) {
		t.Fatalf("a marker of another revision: %v", err)
	}
	if err := s.MarkMoved(m); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	_, err := Open(o)
	moved, ok := errors.AsType[*MovedError](err)
	if !ok || moved.Changed || moved.Marker != m || moved.Path != o.Path {
		t.Fatalf("opened: %v", err)
	}
	for _, part := range []string{o.Path, m.Target, "2026-03-04 05:06:07 UTC", "stkcli state migrate --from", o.Path + ".migrated"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	r, err := Read(o)
	if err != nil || r.Moved() == nil || *r.Moved() != m || domains(r.Snapshot()) != "a.example.org" {
		t.Fatalf("read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	again := o
	again.Moved = true
	s = open(t, again)
	mustPut(t, s, siteOf("b.example.org"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = Open(o); !errors.As(err, &moved) || !moved.Changed || !strings.Contains(err.Error(), "changed since") {
		t.Fatalf("a file that was changed since: %v", err)
	}
	s = open(t, again)
	for range 2 {
		if err := s.ForgetMoved(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantDomains(t, open(t, o), "a.example.org b.example.org")
}

func TestMoved_MarkerThatCannotBeReadIsNotPassedOver(t *testing.T) {
	t.Parallel()
	o := Options{Path: newPath(t), KeyID: "0123abcd"}
	for _, text := range []string{"", "{}", "nonsense", `{"target":""}`} {
		writeText(t, o.Path+suffixMarker, text)
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), o.Path+suffixMarker) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := os.Remove(o.Path + suffixMarker); err != nil {
		t.Fatal(err)
	}
	open(t, o)
}

func TestRead_ChangesNothingAndKeepsOthersOut(t *testing.T) {
	t.Parallel()
	o := Options{Path: newPath(t), KeyID: "0123abcd"}
	if r, err := Read(o); err != nil || r.Exists() || r.Snapshot().Len(state.KindSite) != 0 {
		t.Fatalf("no file: %v", err)
	} else if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// As the earlier program wrote it, and more.
	const text = `{"sites":[{"domain":"A.example.org","tls":null},{"domain":"not a name"}],"later":1,"keyId":"0123abcd"}`
	writeText(t, o.Path, text)
	r, err := Read(o)
	if err != nil {
		t.Fatal(err)
	}
	if got := domains(r.Snapshot()); got != "a.example.org" || len(r.Repairs()) != 3 || r.Unknown()[0] != "later" || !r.Exists() {
		t.Errorf("sites %q, repairs %q, unknown %q", got, r.Repairs(), r.Unknown())
	}
	var locked *LockedError
	if _, err := Open(o); !errors.As(err, &locked) {
		t.Errorf("another process opened it: %v", err)
	}
	if err := r.MarkMoved(markerOf(t, r.Snapshot())); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if readText(t, o.Path) != text {
		t.Error("the file was changed")
	}
	if _, err := os.Stat(o.Path + ".journal"); err == nil {
		t.Error("a journal was written")
	}
	if _, err := Open(o); err == nil {
		t.Error("the marked file was opened")
	} else if moved, ok := errors.AsType[*MovedError](err); !ok || moved.Changed {
		t.Errorf("it was read at one time and opened at another: %v", err)
	}
}

// A crash at any moment leaves no marker or a whole one.
func TestMoved_PowerGoneWhileMarking(t *testing.T) {
	t.Parallel()
	seen := map[bool]int{}
	random := rand.New(rand.NewPCG(1, 2))
	for leave := 0; leave < 3; leave++ {
		for at := 1; ; at++ {
			fsys := newMemFS()
			s := open(t, memOptions(fsys))
			mustPut(t, s, siteOf("a.example.org"))
			m := markerOf(t, s.Snapshot())
			fsys.mu.Lock()
			fsys.crashAt = fsys.ops + at
			fsys.mu.Unlock()
			err := s.MarkMoved(m)
			if err == nil {
				break
			}
			s.Close()
			found, err := readMarker(fsys.reboot(leave, random), memFolder+"/state.json")
			if err != nil || found != nil && *found != m {
				t.Fatalf("crash at operation %d: %v, %v", at, found, err)
			}
			seen[found != nil]++
		}
	}
	if seen[false] == 0 {
		t.Error("no crash left the file without marker")
	}
}
