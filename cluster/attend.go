package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/state"
)

// Times of registering.
const (
	// retryPause is between attempts that failed; after a conflict there is one as soon as the name is free, and
	// one each conflictPause anyway.
	retryPause    = 300 * time.Millisecond
	conflictPause = 5 * time.Second
	// conflictGrace is added to the lease's time to live: by then a process that is gone has left.
	conflictGrace = 2 * time.Second
	// lookEvery is how often a registered node looks whether its key is still the one it registered.
	lookEvery = 30 * time.Second
	// visibleWithin is how long the replica may take to show what was just registered.
	visibleWithin = 10 * time.Second
	// drainTimeout bounds saying that the node stops.
	drainTimeout = 2 * time.Second
)

// errLeft ends a stay: what was registered is no longer there as it was.
var errLeft = errors.New("the registration is no longer as it was")

// attend registers the node under the session's lease, and stays, until the session ends.
func (c *Cluster) attend(run, session context.Context, lease clientv3.LeaseID) {
	var conflictSince time.Time
	refused := ""
	for session.Err() == nil {
		err := c.register(session, lease)
		if err == nil {
			conflictSince, refused = time.Time{}, ""
			c.setAbsent("")
			c.log.Info("registered with the cluster", zap.String("node", c.options.NodeName),
				zap.String("address", c.options.Address), zap.String("instance", c.options.InstanceID))
			err = c.stay(session)
		}
		var conflict *conflictError
		switch {
		case session.Err() != nil:
		case errors.As(err, &conflict):
			if conflictSince.IsZero() {
				conflictSince = c.options.Now()
			}
			patience := c.options.Sessions.TTL() + conflictGrace
			if c.options.Now().Sub(conflictSince) < patience {
				c.setAbsent(fmt.Sprintf("it waits for the name %s, which the node at %s still has", conflict.name, conflict.holder.Address))
			} else {
				c.setAbsent(err.Error())
				if refused != err.Error() {
					refused = err.Error()
					c.log.Error("this node is not registered; it serves on, and tries again", zap.Error(err))
				}
			}
			c.awaitName(session, conflict.holder)
		case errors.Is(err, errLeft):
		default:
			c.setAbsent("it could not register: " + err.Error())
			c.log.Debug("could not register, trying again", zap.Error(err))
			pause(session, retryPause/2+rand.N(retryPause))
		}
	}
	if run.Err() != nil {
		c.drain(run)
	}
	c.setAbsent("it has no session with etcd")
}

// stay returns errLeft once the registration is not as it should be: removed, taken over, or for another key. It
// returns ctx's error when ctx ends.
func (c *Cluster) stay(ctx context.Context) error {
	began, shown, pin := time.Now(), false, c.options.Pin()
	for revision := int64(-1); ; {
		bounded, cancel := context.WithTimeout(ctx, lookEvery)
		s, err := c.options.Store.Wait(bounded, revision)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case c.options.Pin() != pin:
			return errLeft
		case errors.Is(err, state.ErrUnavailable):
			pause(ctx, lookEvery) // the store is closed, and ctx ends soon
			continue
		case err != nil:
			s = c.options.Store.Snapshot()
		}
		concerns := membersChanged(s, revision)
		revision = s.Revision()
		if concerns {
			c.peers.keep(c.Members())
		} else if shown {
			continue
		}
		if c.registeredIn(s) {
			shown = true
		} else if shown || time.Since(began) > visibleWithin {
			return errLeft
		}
	}
}

// membersChanged tells whether anything about members changed after the revision, as far as the snapshot knows.
func membersChanged(s *state.Snapshot, since int64) bool {
	keys, known := s.ChangedSince(since)
	return !known || slices.ContainsFunc(keys, func(k state.Key) bool { return k.Kind == state.KindMember || k.Kind == state.KindNode })
}

// registeredIn tells whether this process is registered in the snapshot.
func (c *Cluster) registeredIn(s *state.Snapshot) bool {
	p, up := s.Object(presenceKey(c.options.NodeName))
	m, known := s.Object(memberKey(c.options.NodeName))
	if !up || !known {
		return false
	}
	held, err := decodeRecord[presence](p)
	record, recordErr := decodeRecord[Record](m)
	return err == nil && held.Process == c.process && recordErr == nil && record.InstanceID == c.options.InstanceID && record.UnseenSince == nil
}

// awaitName returns when the holder of the name is no longer there, or after a while.
func (c *Cluster) awaitName(ctx context.Context, holder presence) {
	ctx, cancel := context.WithTimeout(ctx, conflictPause)
	defer cancel()
	seen := false
	for s := c.options.Store.Snapshot(); ; {
		held, err := presence{}, error(nil)
		o, ok := s.Object(presenceKey(c.options.NodeName))
		if ok {
			held, err = decodeRecord[presence](o)
		}
		if ok && err == nil && held.Process == holder.Process {
			seen = true
		} else if seen {
			return
		}
		next, err := c.options.Store.Wait(ctx, s.Revision())
		if err != nil {
			<-ctx.Done()
			return
		}
		s = next
	}
}

// drain says that the node stops: its presence goes, and its record tells since when.
func (c *Cluster) drain(run context.Context) {
	if c.unregistered() != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), drainTimeout)
	defer cancel()
	if err := c.leave(ctx); err != nil {
		c.log.Info("could not say that this node stops; its lease will", zap.Error(err))
	}
}

func (c *Cluster) leave(ctx context.Context) error {
	_, err := c.options.Store.Update(ctx, func(d *state.Draft) error {
		o, ok := d.Object(memberKey(c.options.NodeName))
		if !ok {
			return nil
		}
		record, err := decodeRecord[Record](o)
		if err != nil || record.InstanceID != c.options.InstanceID {
			return err
		}
		p, ok := d.Object(presenceKey(c.options.NodeName))
		if !ok {
			return nil
		}
		if held, err := decodeRecord[presence](p); err != nil || held.Process != c.process {
			return err
		}
		now := c.options.Now().UTC().Truncate(time.Second)
		record.UnseenSince, record.Stopped = &now, true
		data, err := json.Marshal(record)
		if err != nil {
			return fmt.Errorf("encode member: %w", err)
		}
		if err := d.Delete(presenceKey(c.options.NodeName)); err != nil {
			return err
		}
		return d.Put(&state.Record{Kind: state.KindMember, Name: c.options.NodeName, Data: data})
	})
	return err
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
