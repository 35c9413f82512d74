package certs

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/secret"
	"statiko/state"
)

// DutyOptions are what a [Duty] needs and how it works.
type DutyOptions struct {
	// Store and Keyring are required.
	Store   state.Store
	Keyring *secret.Keyring
	// KeyType is that of new certificates, one of the Key constants; "" is KeyECDSA.
	KeyType string
	// Life is that of new certificates; 0 is DefaultLife.
	Life time.Duration
	// Log may be nil.
	Log *zap.Logger
	// Now tells the time that certificates are judged by; nil is time.Now.
	Now func() time.Time
	// Period is how often everything is looked at, changed or not; 0 is an hour. It is at most a twelfth of Life,
	// so that renewals, due at a third, are never late.
	Period time.Duration
	// Grace is how long a pair that no site needs stays; 0 is ten minutes.
	Grace time.Duration
}

// Duty keeps a self-signed pair in the state for every site that needs one: makes what is missing, makes anew what
// cannot be opened or read, does not cover the site's names or has a third of its life or less left, and removes what
// no site has needed for a while. Sites that need one are those of type selfsigned, and those of types that this
// version cannot issue: akv, and acme unless the state has an issued pair (see [PairFor]).
//
// It looks at the state, never at what happened: at the start and every Period at everything, in between at what
// changed. Several may run at once, by mistake or while a term changes hands: the store's comparisons see to it that
// no pair is made twice into the state.
type Duty struct {
	o DutyOptions
	// produce makes a new sealed pair. Tests replace it to inject faults.
	produce func(site *state.Site) ([]byte, error)
}

// Timing and sizes of the duty.
const (
	defaultPeriod = time.Hour
	defaultGrace  = 10 * time.Minute
	// maxBatch and maxRemovals are how many pairs one transaction holds: a pair is up to three comparisons (site,
	// pair, a pair of an authority), a removal one more (its guard), and a store takes 126.
	maxBatch    = 40
	maxRemovals = 30
	// maxBatchBytes leaves room for names beside the base64 of the pairs in a transaction of 1 MiB.
	maxBatchBytes = 900 << 10
	// linger is how long a finished pair waits for others to be committed with. With nothing else in the making
	// it does not wait.
	linger = 10 * time.Millisecond
	// maxWaiting is how many finished pairs are held while the store does not take them.
	maxWaiting = 400
	// minFullLooks is the least time between full looks that something unexpected causes.
	minFullLooks = time.Minute
)

// NewDuty returns the duty. The only errors are missing options and an unknown type of key.
func NewDuty(o DutyOptions) (*Duty, error) {
	if o.Store == nil || o.Keyring == nil {
		return nil, errors.New("the certificate duty needs a store and a keyring")
	}
	if err := CheckKeyType(o.KeyType); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Life <= 0 {
		o.Life = DefaultLife
	}
	if o.Period <= 0 {
		o.Period = defaultPeriod
	}
	o.Period = max(min(o.Period, o.Life/12), time.Millisecond)
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	d := &Duty{o: o}
	d.produce = d.makeSealed
	return d, nil
}

// Run does the duty until ctx ends, and then returns nil. It returns an error when the term is over (ErrFenced) and
// when the store is closed. Nothing else ends it: it tries again, with growing pauses. It waits for the keys in the
// making, which takes a second or more for large RSA keys.
func (d *Duty) Run(ctx context.Context, fence state.Fence) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	r := &round{
		d: d, fence: fence, ctx: ctx, start: wg.Go,
		jobs: make(chan job), results: make(chan result), commits: make(chan commit, 1),
		inWork: map[string]bool{}, failed: map[string]failure{}, unused: map[string]unusedPair{},
		batchLimit: maxBatch,
	}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() { d.work(ctx, r.jobs, r.results) })
	}
	looks := make(chan struct{}, 1)
	closed := make(chan error, 1)
	from := d.o.Store.Snapshot() // what is watched follows what is absorbed, so that nothing comes between them
	wg.Go(func() { closed <- d.watch(ctx, from.Revision(), looks) })

	r.absorb(from)
	wake := time.NewTimer(0)
	defer wake.Stop()
	for ctx.Err() == nil {
		r.wakeUp(time.Now())
		if !r.committing() {
			r.startCommit()
		}
		feed := r.jobs
		next, ok := r.next()
		if !ok {
			feed = nil
		}
		wake.Reset(r.untilWake(time.Now()))
		select {
		case feed <- next:
			r.fed()
		case res := <-r.results:
			r.finished(res)
		case c := <-r.commits:
			if err := r.committed(c); err != nil {
				return err
			}
		case <-looks:
			r.pauseOver()
			r.absorb(d.o.Store.Snapshot())
		case err := <-closed:
			if ctx.Err() == nil {
				return err
			}
		case <-wake.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// watch puts a mark into looks whenever the state has changed after the revision. Its error is that of the store.
func (d *Duty) watch(ctx context.Context, rev int64, looks chan<- struct{}) error {
	for {
		s, err := d.o.Store.Wait(ctx, rev)
		if err != nil {
			return err
		}
		rev = s.Revision()
		select {
		case looks <- struct{}{}:
		default: // the mark of an earlier change is still there
		}
	}
}

// jittered returns d, up to a tenth more or less.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
