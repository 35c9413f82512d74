package main

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"statiko/etcdclient"
	"statiko/state"
)

// What the reference does: the least that could do the job with etcd's own client, without a replica, checks, or
// anything to be learned from a failure but that it failed.

// raw is etcd's own client with keys like those of a store under a prefix.
type raw struct {
	client *etcdclient.Client
	kv     *clientv3.Client
	prefix string
}

// raw opens a client for keys under "<prefix>/v1/".
func (e *etcd) raw(prefix string) (*raw, error) {
	client, err := e.connect()
	if err != nil {
		return nil, err
	}
	kv, err := client.Etcd()
	if err != nil {
		client.Close()
		return nil, err
	}
	return &raw{client, kv, prefix + "/v1/"}, nil
}

func (r *raw) close() error { return r.client.Close() }

// pair is one key with its value.
type pair struct{ key, value string }

// sitePairs are what etcd holds of a site in a generation: the site, and each of its names.
func (r *raw) sitePairs(s *state.Site) ([]pair, error) {
	data, err := s.MarshalJSON()
	if err != nil {
		return nil, err
	}
	pairs := []pair{{r.prefix + "g/1/sites/" + s.Domain, string(data)}}
	for _, name := range s.Names() {
		pairs = append(pairs, pair{r.prefix + "g/1/names/" + name, fmt.Sprintf("%q", s.Domain)})
	}
	return pairs, nil
}

// put puts the key of a site alone.
func (r *raw) put(ctx context.Context, s *state.Site) (int64, error) {
	pairs, err := r.sitePairs(s)
	if err != nil {
		return 0, err
	}
	answer, err := r.kv.Put(ctx, pairs[0].key, pairs[0].value)
	if err != nil {
		return 0, err
	}
	return answer.Header.Revision, nil
}

// rawNode stands for the node's name in keys.
const rawNode = "bench"

// prepare puts what transactions compare with.
func (r *raw) prepare(ctx context.Context) error {
	for _, key := range []string{"head", "ops/" + rawNode, "cuts/" + rawNode} {
		if _, err := r.kv.Put(ctx, r.prefix+key, "-"); err != nil {
			return err
		}
	}
	return nil
}

// add makes the transaction by which a store adds a site without aliases: it compares the head, the node's cut, that
// site and name do not exist, and the newest operation, and puts the site, its name and the operation's id; if it
// fails it reads the head and the operation.
func (r *raw) add(ctx context.Context, s *state.Site) error {
	pairs, err := r.sitePairs(s)
	if err != nil {
		return err
	}
	head, op, cut := r.prefix+"head", r.prefix+"ops/"+rawNode, r.prefix+"cuts/"+rawNode
	compares := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(head), ">", 0), clientv3.Compare(clientv3.ModRevision(cut), ">", 0),
		clientv3.Compare(clientv3.ModRevision(op), ">", 0),
	}
	var then []clientv3.Op
	for _, p := range pairs {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(p.key), "=", 0))
		then = append(then, clientv3.OpPut(p.key, p.value))
	}
	// As long as an operation's id.
	then = append(then, clientv3.OpPut(op, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	answer, err := r.kv.Txn(ctx).If(compares...).Then(then...).Else(clientv3.OpGet(head), clientv3.OpGet(op)).Commit()
	if err == nil && !answer.Succeeded {
		err = fmt.Errorf("the transaction that adds %s was refused", s.Domain)
	}
	return err
}

// Sizes of the reference's requests. Those for writing are the store's own. Large pages are quicker, as etcd counts for each
// page all keys that are left, whether anybody wants to know or not.
const (
	rawChunk        = 100
	rawChunksAtOnce = 4
	rawPage         = 16384
)

// putAll puts all pairs in transactions that compare nothing.
func (r *raw) putAll(ctx context.Context, pairs []pair) error {
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(rawChunksAtOnce)
	for len(pairs) > 0 && each.Err() == nil {
		chunk := pairs[:min(len(pairs), rawChunk)]
		pairs = pairs[len(chunk):]
		g.Go(func() error {
			ops := make([]clientv3.Op, len(chunk))
			for i, p := range chunk {
				ops[i] = clientv3.OpPut(p.key, p.value)
			}
			_, err := r.kv.Txn(each).Then(ops...).Commit()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// readAll reads all keys under the prefix in pages, at one revision, and returns how many there are.
func (r *raw) readAll(ctx context.Context) (int, error) {
	count, revision := 0, int64(0)
	from, end := r.prefix, clientv3.GetPrefixRangeEnd(r.prefix)
	for {
		answer, err := r.kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(rawPage), clientv3.WithRev(revision))
		if err != nil {
			return 0, err
		}
		count += len(answer.Kvs)
		if !answer.More {
			return count, nil
		}
		revision = answer.Header.Revision
		from = string(lastOf(answer.Kvs).Key) + "\x00"
	}
}

func lastOf(kvs []*mvccpb.KeyValue) *mvccpb.KeyValue { return kvs[len(kvs)-1] }
