package etcdclient

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// boundedKV gives each request of an election a deadline, also those that it makes with a context of its own: a
// campaign that is cancelled leaves the queue with the client's context, which has none.
type boundedKV struct {
	clientv3.KV
	timeout time.Duration
}

func (b boundedKV) Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return b.KV.Get(ctx, key, options...)
}

func (b boundedKV) Txn(ctx context.Context) clientv3.Txn {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	return boundedTxn{b.KV.Txn(ctx), cancel}
}

type boundedTxn struct {
	clientv3.Txn
	cancel context.CancelFunc
}

func (t boundedTxn) If(cs ...clientv3.Cmp) clientv3.Txn { return boundedTxn{t.Txn.If(cs...), t.cancel} }
func (t boundedTxn) Then(os ...clientv3.Op) clientv3.Txn {
	return boundedTxn{t.Txn.Then(os...), t.cancel}
}
func (t boundedTxn) Else(os ...clientv3.Op) clientv3.Txn {
	return boundedTxn{t.Txn.Else(os...), t.cancel}
}

func (t boundedTxn) Commit() (*clientv3.TxnResponse, error) {
	defer t.cancel()
	return t.Txn.Commit()
}
