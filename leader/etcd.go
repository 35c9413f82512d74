package leader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"statiko/etcdclient"
)

// Options say how a node takes part in an election through etcd. Client, Sessions, Prefix, NodeName and InstanceID
// are required.
type Options struct {
	// Client and Sessions are the process's. Who runs the elector runs the sessions too, and ends them later. Only
	// one elector may use them: a lease has one place in the election.
	Client   *etcdclient.Client
	Sessions *etcdclient.Sessions
	// Prefix begins all keys of the election, as "/statiko/v1/leader".
	Prefix string
	// NodeName and InstanceID say who this node is. The name is what others see.
	NodeName, InstanceID string
	// Disallow keeps this node from leading. It still knows who leads.
	Disallow bool
	// Fit tells why this node cannot do what a leader has to do at the moment; nil, or no error, means that it can. It is
	// asked every second, more often while it cannot, and must not block. A node that is not fit is no candidate, and does not go on to lead.
	Fit func() error
	// Log may be nil.
	Log *zap.Logger
}

// Etcd is the [Elector] of a node among others, on [go.etcd.io/etcd/client/v3/concurrency.Election].
//
// # Keys
//
//	<prefix>/election/<lease>   a candidate, under its session's lease; who was first leads
//	<prefix>/next               a handover: who leads now goes, and who may come; under a lease of its own
//
// # What is added to concurrency's election
//
// A campaign ends with its session. Who was elected makes sure in a transaction that the key is still there and that
// no handover names another, and writes into it since when it leads. A term ends when its session ends (by the local
// clock, before etcd can give the lease away), when its key is gone or belongs to another, when a handover asks for it,
// and when [Options.Fit] says that this node cannot lead any more. The key is removed at the end of a term, so that the next leader need not wait for a lease to run out.
type Etcd struct {
	options Options
	log     *zap.Logger
	view    *view
	running atomic.Bool
}

var _ Elector = (*Etcd)(nil)

// NewEtcd returns an elector. It does not touch the network.
func NewEtcd(o Options) (*Etcd, error) {
	switch {
	case o.Client == nil, o.Sessions == nil:
		return nil, errors.New("leader: a client and sessions of etcd are required")
	case o.Prefix == "", o.NodeName == "", o.InstanceID == "":
		return nil, errors.New("leader: a prefix of keys, the node's name and its instance id are required")
	}
	o.Prefix = strings.TrimRight(o.Prefix, "/")
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Etcd{options: o, log: o.Log, view: newView(o.Prefix)}, nil
}

// Run takes part until ctx ends, as in [Elector]. Without etcd it waits for it. When ctx ends inside a term, the term
// ends, duties get a moment to stop, and the leadership is given up at once so that another node can take it over;
// Run returns when all duties have.
func (e *Etcd) Run(ctx context.Context, duties map[string]Duty) error {
	if e.running.Swap(true) {
		return errors.New("this node takes part in the election already")
	}
	defer e.running.Store(false)
	// Who competes needs the view until the end, so it has a context of its own.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { // ended and awaited below
		defer close(done)
		e.follow(watching)
	}()
	defer func() {
		stop()
		<-done
		e.view.forget()
	}()
	if e.options.Disallow {
		<-ctx.Done()
		return nil
	}
	if e.options.Fit != nil {
		unfit := e.judge(errNotJudged)
		judged := make(chan struct{})
		go func() { // ended and awaited below
			defer close(judged)
			for sleep(watching, fitPause(unfit)) {
				unfit = e.judge(unfit)
			}
		}()
		defer func() {
			stop()
			<-judged
		}()
	}
	e.options.Sessions.Each(ctx, func(ctx context.Context, s *etcdclient.Session) { e.compete(ctx, s, duties) })
	return nil
}

// How often a node is asked whether it can lead. One that cannot, as each that starts and has not loaded the state, is asked
// at shorter intervals, so that it is a candidate as soon as it can.
const (
	fitPeriod   = time.Second
	unfitPeriod = 100 * time.Millisecond
)

func fitPause(unfit error) time.Duration {
	if unfit != nil {
		return unfitPeriod
	}
	return fitPeriod
}

// errNotJudged stands for the judgement before the first.
var errNotJudged = errors.New("it was not asked yet")

// judge notes whether this node can lead, and returns why not. before is what it returned the last time.
func (e *Etcd) judge(before error) error {
	err := e.options.Fit()
	e.view.judged(err != nil)
	switch {
	case fmt.Sprint(err) == fmt.Sprint(before):
	case err == nil:
		e.log.Info("this node can lead")
	case errors.Is(before, errNotJudged):
		// Most likely the state is still being loaded.
		e.log.Info("this node cannot lead yet", zap.Error(err))
	default:
		e.log.Warn("this node cannot lead for now", zap.Error(err))
	}
	return err
}

// LeaderState is what a node knows about who leads. All times are of this node's clock but for Since, which is of
// the leader's.
type LeaderState struct {
	// Name and InstanceID are the leading node's; "" when none leads, or when this node has never known.
	Name, InstanceID string
	// Since is when the node began to lead; zero without a leader.
	Since time.Time
	// NobodySince is since when this node knows that none leads; zero if one does.
	NobodySince time.Time
	// UnknownSince is since when this node cannot speak with etcd; zero if it can. What the other fields say is
	// then what was right before.
	UnknownSince time.Time
}

// State returns what this node knows about who leads. It never blocks. Nothing is known unless Run runs.
func (e *Etcd) State() LeaderState {
	v := e.view.snapshot()
	s := LeaderState{Name: v.leader.Node, InstanceID: v.leader.Instance, NobodySince: v.nobody}
	if v.leader.Leads != nil {
		s.Since = *v.leader.Leads
	}
	s.UnknownSince = v.blind
	if since, lost := e.options.Sessions.Lost(); lost && (v.blind.IsZero() || since.Before(v.blind)) {
		s.UnknownSince = since
	}
	return s
}

// Leader returns the name of the node that leads. It returns false as well if this node has not been able to ask for
// longer than a lease lives: whoever led then may not any more.
func (e *Etcd) Leader() (string, bool) {
	s := e.State()
	if s.Name == "" || !s.UnknownSince.IsZero() && time.Since(s.UnknownSince) > e.options.Sessions.TTL() {
		return "", false
	}
	return s.Name, true
}
