package leader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/etcdclient"
	"statiko/state"
)

// What can be in the way of a handover.
var (
	// ErrNoLeader: no node leads.
	ErrNoLeader = errors.New("no node leads")
	// ErrNoCandidate: the node that was named, or any other node, does not wait to lead.
	ErrNoCandidate = errors.New("no candidate")
	// ErrHandover: another handover is under way.
	ErrHandover = errors.New("the leadership is being handed over already")
	// ErrNotTaken: the leader was asked to go, and none came in its place in time.
	ErrNotTaken = errors.New("the leadership was not taken over in time")
)

// StepDown has the node that leads, whichever it is, give the leadership up to the node with the name to, or to any
// other if that is "". It returns nil when another node leads. For as long as one lease lives, only who is meant can
// come to lead; if that is not done by then, any node may again, and the error is ErrNotTaken. It asks through etcd,
// so it can be called on every node while Run runs. If to leads already, there is nothing to do.
//
// Other errors: ErrNoLeader, ErrNoCandidate, ErrHandover, [state.ErrUnavailable] without etcd, ctx's error; in
// the last case the handover goes on.
func (e *Etcd) StepDown(ctx context.Context, to string) error {
	v := e.view.snapshot()
	if _, lost := e.options.Sessions.Lost(); lost || !v.loaded {
		return fmt.Errorf("%w: etcd cannot be reached", state.ErrUnavailable)
	}
	switch others := slices.DeleteFunc(slices.Clone(v.waiting), func(n string) bool { return n == v.leader.Node }); {
	case v.leader.created == 0:
		return fmt.Errorf("%w, so none can step down", ErrNoLeader)
	case to == v.leader.Node && to != "":
		return nil
	case v.nextRevision != 0:
		return fmt.Errorf("%w; try again in a moment", ErrHandover)
	case len(others) == 0:
		return fmt.Errorf("%w: no node but %s waits to lead", ErrNoCandidate, v.leader.Node)
	case to != "" && !slices.Contains(others, to):
		return fmt.Errorf("%w: the node %s does not wait to lead: it is not there, not up, or may not lead; these do: %s",
			ErrNoCandidate, to, strings.Join(slices.Compact(others), ", "))
	}
	etcd, err := e.options.Client.Etcd()
	if err != nil {
		return fmt.Errorf("%w: %v", state.ErrUnavailable, err)
	}
	lease, over, err := e.ask(ctx, etcd, v, to)
	if err != nil {
		return err
	}
	err = e.awaitHandover(ctx, v.leader.created, to, over)
	if err == nil {
		// Who leads now has removed the handover, and its lease is of no more use.
		e.revoke(ctx, etcd, lease)
	}
	return err
}

// revoke gives a handover's lease back; else it runs out.
func (e *Etcd) revoke(ctx context.Context, etcd *clientv3.Client, lease clientv3.LeaseID) {
	ctx, cancel := e.request(ctx)
	defer cancel()
	_, _ = etcd.Revoke(ctx, lease)
}

// ask writes the handover under a lease of its own, and returns when it is over at the latest.
func (e *Etcd) ask(ctx context.Context, etcd *clientv3.Client, v snapshot, to string) (clientv3.LeaseID, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, e.options.Client.Timeout())
	defer cancel()
	ttl := e.options.Sessions.TTL()
	lease, err := etcd.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("%w: %v", state.ErrUnavailable, etcdclient.Plain(err))
	}
	// A struct of a number and strings can always be encoded.
	value, _ := json.Marshal(handover{Term: v.leader.created, From: v.leader.Node, To: to})
	next := nextKey(e.options.Prefix)
	r, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(next), "=", 0)).
		Then(clientv3.OpPut(next, string(value), clientv3.WithLease(lease.ID))).Commit()
	if err == nil && r.Succeeded {
		return lease.ID, time.Now().Add(time.Duration(lease.TTL)*time.Second + time.Second), nil
	}
	e.revoke(ctx, etcd, lease.ID)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("%w: %v", state.ErrUnavailable, etcdclient.Plain(err))
	}
	return 0, time.Time{}, fmt.Errorf("%w; try again in a moment", ErrHandover)
}

// awaitHandover waits until another term than the given one has begun.
func (e *Etcd) awaitHandover(ctx context.Context, before int64, to string, over time.Time) error {
	late := time.NewTimer(time.Until(over))
	defer late.Stop()
	for {
		v := e.view.snapshot()
		if v.leader.created != 0 && v.leader.created != before {
			if to != "" && v.leader.Node != to {
				return fmt.Errorf("%w: the node %s leads, not %s", ErrNotTaken, v.leader.Node, to)
			}
			return nil
		}
		select {
		case <-v.changed:
		case <-late.C:
			return fmt.Errorf("%w; look who leads now", ErrNotTaken)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
