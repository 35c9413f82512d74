package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/etcdclient"
	"statiko/state"
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
