package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/etcdclient"
)

var (
	// errPhantom: this node was told that it is elected, and is not.
	errPhantom = errors.New("this node's place in the election is gone")
	// errNotNow: a handover is under way, and this node may not come next; or it is not fit to lead.
	errNotNow = errors.New("this node may not lead now")
)

// compete campaigns and leads, again and again, while the session lasts.
func (e *Etcd) compete(ctx context.Context, s *etcdclient.Session, duties map[string]Duty) {
	pause, queued := minPause, false
	for e.awaitTurn(ctx, s) {
		t, err := e.campaign(ctx, s)
		if err == nil {
			pause, queued = minPause, false
			e.lead(t, duties)
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if !errors.Is(err, errNotNow) {
			// The key may still be there; the next try finds it.
			queued = true
			s.Check()
			e.log.Warn("the campaign failed, trying again", zap.Error(etcdclient.Plain(err)))
		}
		if !sleep(ctx, pause) {
			break
		}
		pause = min(2*pause, maxPause)
	}
	if queued {
		e.withdraw(ctx, s) // the session may outlive ctx
	}
}

// awaitTurn waits until this node may campaign; false when ctx has ended. Meanwhile it is not in the queue, where it
// would be in the way of who may.
func (e *Etcd) awaitTurn(ctx context.Context, s *etcdclient.Session) bool {
	withdrawn := false
	for {
		v := e.view.snapshot()
		switch {
		case ctx.Err() != nil:
			return false
		case v.loaded && v.admits(e.options.NodeName):
			return true
		case v.loaded && !withdrawn:
			withdrawn = e.withdraw(ctx, s)
			if !withdrawn && !sleep(ctx, minPause) {
				return false
			}
			continue
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return false
		}
	}
}

// request bounds one request; it outlives ctx.
func (e *Etcd) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), min(e.options.Client.Timeout(), resignTimeout))
}

// withdraw takes this node out of the queue, wherever it stands in it. It has to have ended its term before.
func (e *Etcd) withdraw(ctx context.Context, s *etcdclient.Session) bool {
	if lost(ctx) {
		return true
	}
	etcd, err := e.options.Client.Etcd()
	if err != nil {
		return false
	}
	ctx, cancel := e.request(ctx)
	defer cancel()
	_, err = etcd.Delete(ctx, candidateKey(e.options.Prefix, s))
	return err == nil
}

// campaign waits until this node is elected, and returns its term.
func (e *Etcd) campaign(ctx context.Context, s *etcdclient.Session) (*term, error) {
	// A campaign knows neither that its session is over nor of handovers; its context tells it.
	running, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { // ended and awaited below
		defer close(watched)
		for {
			v := e.view.snapshot()
			if !v.admits(e.options.NodeName) {
				cancel(errNotNow)
			}
			select {
			case <-v.changed:
			case <-running.Done():
				return
			}
		}
	}()
	defer func() {
		cancel(nil)
		<-watched
	}()
	election := e.newElection(s)
	if err := election.Campaign(clientv3.WithRequireLeader(running), e.value(nil)); err != nil {
		if cause := context.Cause(running); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	t := &term{elector: e, session: s, ctx: ctx, election: election, key: election.Key(), created: election.Rev(), began: time.Now()}
	if err := t.confirm(running); err != nil {
		if !errors.Is(err, errPhantom) {
			t.resign()
		}
		return nil, err
	}
	return t, nil
}

// confirm makes sure that this node is elected indeed, in a transaction that tells all others so: its key is still
// the one that it waited with, and no handover names another.
func (t *term) confirm(ctx context.Context) error {
	e := t.elector
	etcd, err := e.options.Client.Etcd()
	if err != nil {
		return err
	}
	next := nextKey(e.options.Prefix)
	for {
		v := e.view.snapshot()
		if !v.admits(e.options.NodeName) {
			return errNotNow
		}
		then := []clientv3.Op{clientv3.OpPut(t.key, e.value(&t.began), clientv3.WithLease(t.session.Lease()))}
		if v.nextRevision != 0 {
			then = append(then, clientv3.OpDelete(next)) // its aim is reached
		}
		asking, answered := context.WithTimeout(ctx, e.options.Client.Timeout())
		r, err := etcd.Txn(asking).If(
			clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.created),
			clientv3.Compare(clientv3.ModRevision(next), "=", v.nextRevision),
		).Then(then...).Else(clientv3.OpGet(t.key)).Commit()
		answered()
		if err != nil {
			return fmt.Errorf("confirm the election: %w", err)
		}
		if r.Succeeded {
			return nil
		}
		if kvs := r.Responses[0].GetResponseRange().GetKvs(); len(kvs) != 1 || kvs[0].CreateRevision != t.created {
			return errPhantom
		}
		// A handover began or ended, and the view will know it soon.
		select {
		case <-v.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
