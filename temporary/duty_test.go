package temporary

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statiko/filestore"
	"statiko/leader"
	"statiko/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fence is one whose term is over or not.
type fence bool

func (f fence) Over() bool { return bool(f) }

func open(t *testing.T) state.Store {
	t.Helper()
	s, err := filestore.Open(filestore.Options{Path: filepath.Join(t.TempDir(), "state.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s state.Store, sites ...*state.Site) {
	t.Helper()
	if _, err := s.Update(t.Context(), func(d *state.Draft) error {
		for _, site := range sites {
			if err := d.Put(site); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func domains(s state.Store) (list []string) {
	for site := range s.Snapshot().Sites() {
		list = append(list, site.Domain)
	}
	return list
}

// Weakness W67b: temporary sites never expired.
func TestW67b_TemporarySitesAreRemovedAtTheirAge(t *testing.T) {
	s := open(t)
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	put(t, s,
		&state.Site{Domain: "old.test", Temporary: true, Created: now.Add(-7 * 24 * time.Hour)},
		&state.Site{Domain: "young.test", Temporary: true, Created: now.Add(-7*24*time.Hour + time.Second)},
		&state.Site{Domain: "unknown.test", Temporary: true},
		&state.Site{Domain: "lasting.test", Created: now.Add(-time.Hour * 24 * 365)},
	)
	d, err := NewDuty(Options{Store: s, TTL: 7 * 24 * time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	look := func(want ...string) {
		t.Helper()
		if err := d.look(t.Context(), fence(false)); err != nil {
			t.Fatal(err)
		}
		if got := domains(s); !slices.Equal(got, want) {
			t.Fatalf("%v are left, want %v", got, want)
		}
	}
	look("lasting.test", "unknown.test", "young.test")
	if site, _ := s.Snapshot().Site("unknown.test"); !site.Created.Equal(now) {
		t.Errorf("a site without a time got %v", site.Created)
	}
	revision := s.Snapshot().Revision()
	look("lasting.test", "unknown.test", "young.test")
	if got := s.Snapshot().Revision(); got != revision {
		t.Error("a second look changes the state")
	}
	now = now.Add(time.Second)
	look("lasting.test", "unknown.test")
	now = now.Add(7 * 24 * time.Hour)
	look("lasting.test")
}

func TestDuty_ALateLeaderRemovesNothing(t *testing.T) {
	s := open(t)
	put(t, s, &state.Site{Domain: "old.test", Temporary: true, Created: time.Now().Add(-time.Hour)})
	d, err := NewDuty(Options{Store: s, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.look(t.Context(), fence(true)); !errors.Is(err, state.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if got := domains(s); len(got) != 1 {
		t.Errorf("%v are left", got)
	}
}

// The duty runs within a term, again and again.
func TestDuty_RunsWhileItsTermLasts(t *testing.T) {
	s := open(t)
	d, err := NewDuty(Options{Store: s, TTL: time.Second, LookEvery: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- leader.NewStatic("n", nil).Run(ctx, map[string]leader.Duty{"temporary sites": d.Run})
	}()
	put(t, s, &state.Site{Domain: "short.test", Temporary: true, Created: time.Now()})
	bound, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	for revision := int64(0); len(domains(s)) > 0; {
		snap, err := s.Wait(bound, revision)
		if err != nil {
			t.Fatal(fmt.Errorf("%v are still there: %w", domains(s), err))
		}
		revision = snap.Revision()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
