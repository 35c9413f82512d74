package certs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/notify"
	"statiko/state"
)

// eventOf reads an event of the outbox, or false for a mark.
func eventOf(t testing.TB, o state.Object) (notify.Event, bool) {
	t.Helper()
	if !strings.HasPrefix(o.Key().Name, "outbox/") {
		return notify.Event{}, false
	}
	data, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var e notify.Event
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	return e, true
}

// inbox is an administrator's: it counts what arrives.
type inbox struct {
	mu  sync.Mutex
	got map[string]int
	// crashes counts senders that crashed right after a notice arrived; there are at most maxCrashes.
	crashes, maxCrashes int
}

func (b *inbox) Send(_ context.Context, e notify.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.got == nil {
		b.got = map[string]int{}
	}
	b.got[e.ID]++
	return nil
}

// desk is where one process sends from. Every third notice that arrives from a desk crashes its process before it
// learns that, up to the inbox's maximum.
type desk struct {
	*inbox
	process *process
}

func (d desk) Send(ctx context.Context, e notify.Event) error {
	if err := d.inbox.Send(ctx, e); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.got)%3 == 0 && d.crashes < d.maxCrashes && !d.process.crashed.Swap(true) {
		d.crashes++
	}
	return nil
}

func (b *inbox) all() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.got)
}

// process is the store as one process has it, until the process crashes.
type process struct {
	state.Store
	crashed atomic.Bool
}

func (p *process) Update(ctx context.Context, change func(*state.Draft) error, options ...state.UpdateOption) (int64, error) {
	if p.crashed.Load() {
		return 0, state.Errorf(state.ErrUnavailable, state.Key{}, "", "the process is gone")
	}
	return p.Store.Update(ctx, change, options...)
}

// owner is an administrator who imports a certificate, and a new one each time little is left.
type owner struct {
	name string
	// life is that of each, renewAt how much is left of it when the next is imported; a negative one is late.
	life, renewAt time.Duration
	notAfter      time.Time
	// due has the IDs of all notices that there must be by now.
	due map[string]bool
}

// importNow imports a certificate.
func (o *owner) importNow(t testing.TB, s state.Store, g *rig, now time.Time) {
	t.Helper()
	put(t, s, imported(t, g.ring, o.name, now, o.life))
	o.notAfter = now.Add(o.life).UTC().Truncate(time.Second)
}

// check lets the owner do what is to be done, and notes what has to be noticed by now.
func (o *owner) check(t testing.TB, s state.Store, g *rig, now time.Time) {
	t.Helper()
	if o.renewAt != never && o.notAfter.Sub(now) <= o.renewAt {
		o.importNow(t, s, g, now)
	}
	if threshold, ok := Threshold(o.notAfter.Sub(now)); ok {
		if o.due == nil {
			o.due = map[string]bool{}
		}
		o.due[fmt.Sprintf("certificate/imported/%s/%s/%d", o.name, o.notAfter.Format("20060102T150405Z"), threshold)] = true
	}
}

// never is the renewAt of an owner who renews nothing.
const never = -1000 * day

func owners() []*owner {
	return []*owner{
		{name: "quarter", life: 90 * day, renewAt: 10*day + time.Hour},
		{name: "week", life: 7 * day, renewAt: 36 * time.Hour},
		{name: "late", life: 90 * day, renewAt: -3*day - time.Hour},
		{name: "years", life: 730 * day, renewAt: never},
		{name: "forgotten", life: 730 * day, renewAt: never},
	}
}

// settle imports the first certificates, some of them old, and adds the sites.
func settle(t testing.TB, s state.Store, g *rig, all []*owner, now time.Time) {
	t.Helper()
	for _, o := range all {
		o.importNow(t, s, g, now)
		if o.name == "forgotten" {
			o.notAfter = now.Add(200 * day).UTC().Truncate(time.Second)
			put(t, s, imported(t, g.ring, o.name, now.Add(200*day-o.life), o.life))
		}
		put(t, s, uses(o.name+".test", o.name), uses("www-"+o.name+".test", o.name))
	}
	put(t, s, &state.Secret{Name: state.PrefixImported + "broken", Sealed: []byte("x")}, uses("broken.test", "broken"))
}

// compare fails unless exactly what was due arrived. more is how many may have arrived more than once.
func compare(t testing.TB, all []*owner, got map[string]int, more int) {
	t.Helper()
	due := 0
	for _, o := range all {
		for id := range o.due {
			due++
			switch n := got[id]; {
			case n == 0:
				t.Errorf("%s was not told", id)
			case n > 1:
				more -= n - 1
			}
			delete(got, id)
		}
	}
	for id := range got {
		t.Errorf("%s was told for no reason", id)
	}
	if more < 0 {
		t.Errorf("%d notices came too often", -more)
	}
	t.Logf("%d notices", due)
}
