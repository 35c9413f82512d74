package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/etcdclient"
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

// conflictError says that another process has this node's name.
type conflictError struct {
	name   string
	holder presence
	own    string
}

func (e *conflictError) Error() string {
	if e.holder.Address == e.own {
		return fmt.Sprintf("the name %s belongs to another process at the same address %s (since %s): two nodes are configured alike, or the data folder was copied; give each its own nodeName and appRoot",
			e.name, e.own, e.holder.Since.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("the name %s belongs to the node at %s (since %s), and this one is at %s: give one of them another nodeName; if the data folder was copied, also remove the copied instance id",
		e.name, e.holder.Address, e.holder.Since.UTC().Format(time.RFC3339), e.own)
}

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

// wanted is this node's record as far as it does not depend on what is registered.
func (c *Cluster) wanted() Record {
	o := c.options
	return Record{InstanceID: o.InstanceID, Address: o.Address, Pin: o.Pin(), Version: o.Version, WebServer: o.WebServer,
		FirstSeen: o.Now().UTC().Truncate(time.Second), Schema: schemaVersion}
}

// key returns where an object of the cluster's kinds is in etcd.
func (c *Cluster) key(k state.Key) string {
	return strings.TrimRight(c.options.Prefix, "/") + "/v1/" + string(k.Kind) + "/" + k.Name
}

// register writes the member's record if it is not as it should be, and puts the presence, if nobody else has the
// name. Only the first time does the process take the name from another one of the same instance: later that other
// one is the newer.
func (c *Cluster) register(ctx context.Context, lease clientv3.LeaseID) error {
	etcd, err := c.options.Client.Etcd()
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, c.options.Client.Timeout())
	defer cancel()
	key := c.key(presenceKey(c.options.NodeName))
	r, err := etcd.Get(bounded, key)
	if err != nil {
		return fmt.Errorf("etcd: %w", etcdclient.Plain(err))
	}
	var seen int64
	if len(r.Kvs) > 0 {
		var held presence
		// What cannot be read is nobody's.
		if json.Unmarshal(r.Kvs[0].Value, &held) == nil && !c.mine(held) {
			return &conflictError{c.options.NodeName, held, c.options.Address}
		}
		seen = r.Kvs[0].ModRevision
	}
	record, err := c.writeRecord(bounded)
	if err != nil {
		return err
	}
	value, err := json.Marshal(presence{InstanceID: c.options.InstanceID, Process: c.process, Address: c.options.Address, Since: c.options.Now().UTC()})
	if err != nil {
		return fmt.Errorf("encode presence: %w", err)
	}
	// The record is compared too, so that of two nodes that take a free name at once one has both, and so that a
	// leader does not forget a member that is just coming back.
	txn, err := etcd.Txn(bounded).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", seen), clientv3.Compare(clientv3.Value(c.key(memberKey(c.options.NodeName))), "=", string(record))).
		Then(clientv3.OpPut(key, string(value), clientv3.WithLease(lease))).Commit()
	switch {
	case err != nil:
		return fmt.Errorf("etcd: %w", etcdclient.Plain(err))
	case !txn.Succeeded:
		return errors.New("another node registers at the same moment")
	}
	c.mu.Lock()
	c.entered = true
	c.mu.Unlock()
	return nil
}

// mine tells whether this process may replace the presence.
func (c *Cluster) mine(held presence) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return held.Process == c.process || held.InstanceID == c.options.InstanceID && !c.entered
}

// writeRecord makes the member's record as it should be, and returns its bytes.
func (c *Cluster) writeRecord(ctx context.Context) ([]byte, error) {
	var data []byte
	_, err := c.options.Store.Update(ctx, func(d *state.Draft) error {
		if o, ok := d.Object(presenceKey(c.options.NodeName)); ok {
			if held, err := decodeRecord[presence](o); err == nil && !c.mine(held) {
				return &conflictError{c.options.NodeName, held, c.options.Address}
			}
		}
		record := c.wanted()
		if o, ok := d.Object(memberKey(c.options.NodeName)); ok {
			if old, err := decodeRecord[Record](o); err == nil && old.InstanceID == record.InstanceID {
				record.FirstSeen = old.FirstSeen
			}
		}
		var err error
		if data, err = json.Marshal(record); err != nil {
			return fmt.Errorf("encode member: %w", err)
		}
		return d.Put(&state.Record{Kind: state.KindMember, Name: c.options.NodeName, Data: data})
	})
	return data, err
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
		revision = s.Revision()
		c.peers.keep(c.Members())
		if c.registeredIn(s) {
			shown = true
		} else if shown || time.Since(began) > visibleWithin {
			return errLeft
		}
	}
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
