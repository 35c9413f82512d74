package etcdstore

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"statiko/etcdclient"
	"statiko/state"
	"statiko/test/etcdtest"
)

// memoryCopy is a local copy without a disk.
type memoryCopy struct {
	mu       sync.Mutex
	snapshot *state.Snapshot
	note     []byte
	saves    int
	loadErr  error
	saveErr  error
}

func (c *memoryCopy) Load() (*state.Snapshot, []byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.snapshot, c.note, c.loadErr
}

func (c *memoryCopy) Save(s *state.Snapshot, note []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saves++
	if c.saveErr == nil {
		c.snapshot, c.note = s, note
	}
	return c.saveErr
}

func TestCopy_BootsAndServesWithoutEtcd(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	kept := &memoryCopy{}
	s := openOn(t, c.Endpoints(), Options{Prefix: "/c", Copy: kept, KeyID: "aaaa"})
	revision := mustPut(t, s, site("a.test", "www.a.test"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.Member(0).Kill()
	s = openNow(t, etcdclient.Options{Endpoints: c.Endpoints()}, Options{Prefix: "/c", Copy: kept, KeyID: "aaaa"})
	select {
	case <-s.Loaded():
	case <-time.After(5 * time.Second):
		t.Fatal("it is not loaded")
	}
	if now := s.Snapshot().Revision(); now != revision {
		t.Fatalf("revision %d, want %d", now, revision)
	}
	if found, ok := s.Snapshot().Site("www.a.test"); !ok || found.Domain != "a.test" {
		t.Fatal("the site is missing")
	}
	if err := mustFail(t, s, "b.test"); !errors.Is(err, state.ErrUnavailable) {
		t.Fatal(err)
	}
	c.Member(0).Restart(t)
	c.AwaitReady(t)
	if took := awaitHealthy(t, s); took > 2*time.Second {
		t.Errorf("back after %v", took)
	}
	mustPut(t, s, site("b.test"))
	awaitSites(t, s, "a.test", "b.test")
	// The key has changed without the old one being named.
	client, err := etcdclient.Open(etcdclient.Options{Endpoints: c.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := Open(Options{Client: client, NodeName: "n", Prefix: "/c", Copy: kept, KeyID: "bbbb"}); !errors.Is(err, state.ErrForeignKey) {
		t.Fatalf("a copy of another key: %v", err)
	}
}

func TestCopy_FirstBootWithoutEtcdWaits(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	c.Member(0).Kill()
	s := openNow(t, etcdclient.Options{Endpoints: c.Endpoints()}, Options{Prefix: "/c", Copy: &memoryCopy{}})
	if h := s.Health(); h.Healthy || h.Reason == "" {
		t.Fatalf("health is %+v", h)
	}
	select {
	case <-s.Loaded():
		t.Fatal("it says that it is loaded")
	case <-time.After(200 * time.Millisecond):
	}
	mustFail(t, s, "a.test")
	c.Member(0).Restart(t)
	<-s.Loaded()
	awaitHealthy(t, s)
	mustPut(t, s, site("a.test"))
}

func TestCopy_IsAtMostASecondBehindAndNotWrittenForNothing(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	kept := &memoryCopy{}
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix, Copy: kept})
	last := int64(0)
	for i := range 30 {
		last = mustPut(t, s, site(fmt.Sprintf("n%d.test", i)))
	}
	saved := func() (int64, int) {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		if kept.snapshot == nil {
			return 0, 0
		}
		return kept.snapshot.Revision(), kept.saves
	}
	took := eventually(t, 10*time.Second, func() error {
		if revision, _ := saved(); revision != last {
			return fmt.Errorf("revision %d is saved, not %d", revision, last)
		}
		return nil
	})
	_, saves := saved()
	if took > 2*time.Second || saves > 10 {
		t.Errorf("saved after %v, in %d writes of 30 changes", took, saves)
	}
	time.Sleep(1500 * time.Millisecond) // That nothing is written is the test.
	if _, now := saved(); now != saves {
		t.Errorf("%d writes while nothing changed", now-saves)
	}
}

func TestCopy_ADiskThatRefusesDisturbsNothing(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	kept := &memoryCopy{saveErr: errors.New("full"), loadErr: errors.New("damaged")}
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix, Copy: kept})
	mustPut(t, s, site("a.test"))
	eventually(t, 10*time.Second, func() error {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		if kept.saves == 0 {
			return errors.New("nothing was saved")
		}
		return nil
	})
	kept.mu.Lock()
	kept.saveErr = nil
	kept.mu.Unlock()
	mustPut(t, s, site("b.test"))
	eventually(t, 10*time.Second, func() error {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		if kept.snapshot == nil || kept.snapshot.Len(state.KindSite) != 2 {
			return errors.New("the newest is not saved")
		}
		return nil
	})
}
