package certs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"statiko/notify"
	"statiko/state"
)

// office is a term in which one process does all duties that concern certificates.
type office struct {
	process *process
	fence   *testFence
	stop    context.CancelFunc
	done    sync.WaitGroup
	sender  *notify.Duty
}

func takeOffice(t testing.TB, g *rig, life time.Duration, box *inbox, node string) *office {
	t.Helper()
	o := &office{process: &process{Store: g.store}, fence: &testFence{}}
	ctx, cancel := context.WithCancel(t.Context())
	o.stop = cancel
	pairs, err := NewDuty(DutyOptions{Store: o.process, Keyring: g.ring, Life: life, Period: 6 * time.Hour, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	expiry, err := NewExpiryDuty(ExpiryOptions{Store: o.process, Keyring: g.ring, Node: node, Period: 6 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if o.sender, err = notify.NewDuty(notify.Options{Store: o.process, Sender: desk{box, o.process}, Node: node}); err != nil {
		t.Fatal(err)
	}
	for _, duty := range []func(context.Context, state.Fence) error{pairs.Run, expiry.Run, o.sender.Run} {
		o.done.Go(func() {
			for duty(ctx, o.fence) != nil && ctx.Err() == nil {
				time.Sleep(time.Second)
			}
		})
	}
	return o
}

func (o *office) end() {
	o.fence.over.Store(true)
	o.stop()
	o.done.Wait()
	_ = o.sender.Close()
}

// years runs so many days, with a new leader about every day and a half, some before the last one has gone.
// With crashing, some leaders crash between sending a notice and noting that.
func years(t *testing.T, days int, life time.Duration, crashing bool) {
	g := newRig(t)
	all := owners()
	began := time.Now()
	settle(t, g.store, g, all, began)
	self := plain("self.test", "www.self.test")
	put(t, g.store, self)

	box := &inbox{}
	if crashing {
		box.maxCrashes = 20
	}
	current := takeOffice(t, g, life, box, "n0")
	pass(time.Second)
	var notAfter time.Time
	serials, changeAt := map[string]bool{}, time.Now().Add(37*time.Hour)
	const step = 4
	for hour := step; hour <= days*24; hour += step {
		for _, o := range all {
			o.check(t, g.store, g, time.Now())
		}
		pass(step * time.Hour)
		c := g.good(self)
		if left := time.Until(notAfter); !notAfter.IsZero() && !c.NotAfter.Equal(notAfter) && (left > (life+backdate)/3 || left < life/3-life/10) {
			t.Errorf("hour %d: renewed with %v left of %v", hour, left, life)
		}
		notAfter = c.NotAfter
		serials[c.SerialNumber.String()] = true
		crashed := current.process.crashed.Load()
		if time.Now().Before(changeAt) && !crashed {
			continue
		}
		last := current
		overlap := !crashed && hour%3 == 0
		if !overlap {
			last.end()
		}
		current = takeOffice(t, g, life, box, fmt.Sprintf("n%d", hour%3))
		if overlap {
			pass(time.Minute)
			last.end()
		}
		changeAt = time.Now().Add(time.Duration(30+rand.N(14)) * time.Hour)
	}
	for _, o := range all {
		o.check(t, g.store, g, time.Now())
	}
	pass(time.Minute)
	current.end()

	if want := int(time.Duration(days)*day/(life*2/3)) + 1; len(serials) < want-want/8 || len(serials) > want+want/8+1 {
		t.Errorf("%d certificates of %v in %d days, want about %d", len(serials), life, days, want)
	}
	if n := g.store.selfSigned.Load(); n != int64(len(serials)) {
		t.Errorf("%d pairs were stored, %d were ever served", n, len(serials))
	}
	compare(t, all, box.all(), box.crashes)
	if box.crashes != box.maxCrashes {
		t.Errorf("%d leaders crashed, not %d", box.crashes, box.maxCrashes)
	}
	t.Logf("%d certificates, %d crashes", len(serials), box.crashes)
}

// Without the long form, what runs for fewer days or not at all has no crashes, or has them in the form that runs: the
// imported certificates are the same in all.
func TestW62_FourHundredDays(t *testing.T) {
	for _, c := range []struct {
		life     time.Duration
		crashing bool
		days     int
	}{{90 * day, false, 0}, {90 * day, true, 0}, {7 * day, false, 0}, {7 * day, true, 400}, {730 * day, false, 120}, {730 * day, true, 0}} {
		t.Run(fmt.Sprintf("%d days, crashes %v", c.life/day, c.crashing), func(t *testing.T) {
			days := c.days
			if soak() {
				days = 400
			}
			if days == 0 {
				t.Skip("a long form: set STATIKO_SOAK=1")
			}
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { years(t, days, c.life, c.crashing) })
		})
	}
}
