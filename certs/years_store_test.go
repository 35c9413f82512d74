package certs

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/etcdclient"
	"statiko/etcdstore"
	"statiko/notify"
	"statiko/state"
	"statiko/test/etcdtest"
)

// etcdTerm is a term of leadership as etcd knows it: a key that lasts until it is deleted.
type etcdTerm struct {
	testFence
	key      string
	revision int64
}

func (f *etcdTerm) Proof() (string, int64) { return f.key, f.revision }

// calendar is a clock that is set by hand.
type calendar struct{ at atomic.Int64 }

func (c *calendar) now() time.Time      { return time.Unix(0, c.at.Load()) }
func (c *calendar) add(d time.Duration) { c.at.Add(int64(d)) }

// soak tells whether the long forms of tests are wanted.
func soak() bool { return os.Getenv("STATIKO_SOAK") == "1" }

// yearsOn steps through the days on a real store. Every day has a leader of its own, which does what is due and goes.
// In the long form, three of them crash after they sent a notice: the next waits half a minute before it sends it again.
func yearsOn(t *testing.T, s state.Store, days int, newTerm func() (fence state.Fence, over func())) {
	g := &rig{t: t, ring: ring(t, testKey)}
	clock := &calendar{}
	clock.at.Store(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	all := owners()
	settle(t, s, g, all, clock.now())
	self := plain("self.test", "www.self.test")
	put(t, s, self)

	box := &inbox{}
	if soak() {
		box.maxCrashes = 3
	}
	serials := map[string]bool{}
	for i := range days {
		for _, o := range all {
			o.check(t, s, g, clock.now())
		}
		fence, over := newTerm()
		p := &process{Store: s}
		leadForADay(t, p, g, clock, box, fence, fmt.Sprintf("n%d", i%3))
		over()
		snap := s.Snapshot()
		sec, ok := snap.Secret(nameOf(self))
		if !ok {
			t.Fatalf("day %d: no certificate", i)
		}
		info, err := InspectSealed(g.ring, sec)
		if err != nil {
			t.Fatal(err)
		}
		if left := info.NotAfter.Sub(clock.now()); left < 30*day {
			t.Fatalf("day %d: only %v left", i, left)
		}
		serials[info.Serial] = true
		clock.add(day)
	}
	told, left := box.all(), 0
	for e := range outbox(t, s.Snapshot()) {
		if told[e] == 0 {
			t.Errorf("%s is in the outbox and was not told", e)
		}
		left++
	}
	want := days/60 + 1
	if n := len(serials); n < want-1 || n > want+1 {
		t.Errorf("%d certificates in %d days, want about %d", n, days, want)
	}
	compare(t, all, told, box.crashes)
	if box.crashes != box.maxCrashes {
		t.Errorf("%d leaders crashed, not %d", box.crashes, box.maxCrashes)
	}
	t.Logf("%d certificates, %d events in the outbox, %d crashes", len(serials), left, box.crashes)
}

// leadForADay does all duties until nothing is left to do.
func leadForADay(t *testing.T, p *process, g *rig, clock *calendar, box *inbox, fence state.Fence, node string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	expiry, err := NewExpiryDuty(ExpiryOptions{Store: p, Keyring: g.ring, Node: node, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	expiry.read = map[string]readPair{}
	if _, err := expiry.look(ctx, fence, p.Snapshot()); err != nil {
		t.Fatal(err)
	}
	pairs, err := NewDuty(DutyOptions{Store: p, Keyring: g.ring, Life: 90 * day, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	sender, err := notify.NewDuty(notify.Options{Store: p, Sender: desk{box, p}, Node: node, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for _, run := range []func(context.Context, state.Fence) error{pairs.Run, sender.Run} {
		done.Go(func() {
			if err := run(ctx, fence); err != nil {
				t.Error(err)
			}
		})
	}
	defer func() {
		cancel()
		done.Wait()
		_ = sender.Close()
	}()
	for snap := p.Snapshot(); ; {
		why := ""
		if n, _ := notify.Pending(snap); n > 0 && !p.crashed.Load() {
			why = fmt.Sprintf("%d notices wait", n)
		}
		if sec, ok := snap.Secret(nameOf(plain("self.test", "www.self.test"))); !ok {
			why = "there is no certificate"
		} else if info, err := InspectSealed(g.ring, sec); err != nil || info.NotAfter.Sub(clock.now()) <= 30*day {
			why = "the certificate is due"
		}
		if why == "" || p.crashed.Load() {
			return
		}
		// A process that crashes changes nothing any more, so it is looked at again in any case.
		again, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		newer, err := p.Wait(again, snap.Revision())
		stop()
		switch {
		case err == nil:
			snap = newer
		case ctx.Err() != nil:
			t.Fatalf("%s: %v", why, err)
		}
	}
}

func TestW62_FourHundredDaysOnAFile(t *testing.T) {
	t.Parallel()
	days := 210 // one certificate that nobody renews ends on the 200th
	if soak() {
		days = 400
	}
	yearsOn(t, openFile(t), days, func() (state.Fence, func()) {
		f := &testFence{}
		return f, func() { f.over.Store(true) }
	})
}

func TestW62_FourHundredDaysOnEtcd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an etcd server")
	}
	t.Parallel()
	cluster := etcdtest.Start(t, etcdtest.Options{})
	client, err := etcdclient.Open(etcdclient.Options{Endpoints: cluster.Endpoints(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etcdstore.Open(etcdstore.Options{Client: client, Prefix: "/statiko", NodeName: "n"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !s.Health().Healthy {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(s.Health().Reason)
		}
	}
	days := 120
	if soak() {
		days = 400
	}
	etcd := cluster.Client(t)
	yearsOn(t, s, days, func() (state.Fence, func()) {
		r, err := etcd.Put(t.Context(), "/leader", "")
		if err != nil {
			t.Fatal(err)
		}
		f := &etcdTerm{key: "/leader", revision: r.Header.Revision}
		return f, func() {
			if _, err := etcd.Delete(t.Context(), "/leader"); err != nil {
				t.Error(err)
			}
			f.over.Store(true)
		}
	})
}
