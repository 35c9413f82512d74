package leader

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/etcdclient"
)

// Times of following.
const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
	// lookAnyway is how often the keys are read although nothing happened.
	lookAnyway = 10 * time.Minute
)

// errLookAgain ends a watch because the keys have to be read again.
var errLookAgain = errors.New("time to look again")

// follow keeps the view until ctx ends. It reads the keys and watches them from the next revision on; whatever
// happens to the watch (an error, compaction, another connection behind which may be another etcd), they are read
// again.
func (e *Etcd) follow(ctx context.Context) {
	crier := &crier{elector: e}
	pause := minPause
	for ctx.Err() == nil {
		err := e.followOnce(ctx, func() {
			pause = minPause
			crier.look()
		})
		if errors.Is(err, errLookAgain) {
			continue
		}
		e.view.lose()
		if ctx.Err() == nil {
			e.log.Debug("the election cannot be watched, trying again", zap.Error(etcdclient.Plain(err)))
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

func (e *Etcd) followOnce(ctx context.Context, looked func()) error {
	etcd, err := e.options.Client.Etcd()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	before := e.options.Client.Connections()
	asking, answered := context.WithTimeout(ctx, e.options.Client.Timeout())
	r, err := etcd.Get(asking, e.options.Prefix+"/", clientv3.WithPrefix())
	answered()
	if err != nil {
		return err
	}
	connections := e.options.Client.Connections()
	if before != 0 && connections != before {
		return errLookAgain
	}
	e.view.load(r.Kvs)
	looked()
	events := etcd.Watch(ctx, e.options.Prefix+"/", clientv3.WithPrefix(), clientv3.WithRev(r.Header.Revision+1))
	anyway := time.NewTimer(lookAnyway - lookAnyway/10 + rand.N(lookAnyway/5))
	defer anyway.Stop()
	// A watch that was resumed on another etcd may bring nothing.
	check := time.NewTicker(e.options.Sessions.TTL() / 3)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-anyway.C:
			return errLookAgain
		case <-check.C:
			if e.options.Client.Connections() != connections {
				return errLookAgain
			}
			looked()
		case r, ok := <-events:
			if !ok {
				return errors.New("the watch on the election ended")
			}
			if err := r.Err(); err != nil {
				return err
			}
			if e.options.Client.Connections() != connections {
				return errLookAgain
			}
			if len(r.Events) > 0 {
				e.view.apply(r.Events)
				looked()
			}
		}
	}
}

// crier says in the log who leads, and when nobody has for longer than a lease lives.
type crier struct {
	elector *Etcd
	term    int64
	cried   bool
}

// look is called after each change of the view and now and then, by one goroutine.
func (c *crier) look() {
	s, log := c.elector.view.snapshot(), c.elector.log
	switch {
	case s.leader.created != 0:
		if s.leader.created != c.term && s.leader.Node != c.elector.options.NodeName {
			log.Info("a node leads", zap.String("node", s.leader.Node))
		}
		c.term, c.cried = s.leader.created, false
		return
	case c.cried || time.Since(s.nobody) < c.elector.options.Sessions.TTL():
	case !c.elector.State().UnknownSince.IsZero():
		// That this node lost etcd is in the log already.
	default:
		c.cried = true
		log.Warn("no node leads: certificates and DH parameters are not made until one may and can",
			zap.Time("since", s.nobody), zap.Bool("thisNodeMayLead", !c.elector.options.Disallow && !s.unfit))
	}
	c.term = 0
}

// sleep pauses for d and up to half as long again; false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
