package etcdstore

import (
	"context"
	"runtime"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"statiko/state"
)

// Pages of a load: few enough bytes that other clients of etcd hardly notice, and no answer is too large. Objects are
// of very different sizes, so each page says how many keys the next one may have. They should not be many either: for
// each page etcd counts all keys of its range that are left, and lets nobody write meanwhile. That is why each kind of
// object is a range of its own.
const (
	pageBytes = 2 << 20
	firstPage = 256
	maxPage   = 16384
	// rangesAtOnce is how many ranges are read at a time. The next page of each is on its way while one is decoded.
	rangesAtOnce = 4
)

// item is a key, with the object in it if it has one that can be read.
type item struct {
	kv     *mvccpb.KeyValue
	key    state.Key
	object state.Object
	err    error
}

// pages reads all keys with the prefixes at one revision, and calls take with each page, one at a time.
func (s *Store) pages(ctx context.Context, etcd *clientv3.Client, revision int64, prefixes []string, take func([]*mvccpb.KeyValue) error) error {
	fetched := make(chan []*mvccpb.KeyValue)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(fetched)
		ranges, ctx := errgroup.WithContext(ctx)
		ranges.SetLimit(rangesAtOnce)
		for _, prefix := range prefixes {
			ranges.Go(func() error { return s.fetch(ctx, etcd, revision, prefix, fetched) })
		}
		return ranges.Wait()
	})
	g.Go(func() error {
		for page := range fetched {
			if err := take(page); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// fetch sends all keys with the prefix, page by page.
func (s *Store) fetch(ctx context.Context, etcd *clientv3.Client, revision int64, prefix string, to chan<- []*mvccpb.KeyValue) error {
	from, end, limit := prefix, clientv3.GetPrefixRangeEnd(prefix), int64(firstPage)
	for {
		r, err := s.get(ctx, etcd, from, clientv3.WithRange(end), clientv3.WithLimit(limit), clientv3.WithRev(revision))
		if status.Code(err) == codes.ResourceExhausted && limit > 1 {
			limit = max(1, limit/8)
			continue
		}
		if err != nil {
			return err
		}
		if len(r.Kvs) == 0 {
			return nil
		}
		size := int64(1)
		for _, kv := range r.Kvs {
			size += int64(len(kv.Key) + len(kv.Value))
		}
		select {
		case to <- r.Kvs:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !r.More {
			return nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		limit = min(max(1, int64(len(r.Kvs))*pageBytes/size), 8*limit, maxPage)
	}
}

// decodeAll decodes items on all processors. What cannot be read has an error.
func decodeAll(items []item) {
	const atLeast = 64 // fewer are not worth a goroutine
	chunk := max(atLeast, (len(items)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var g errgroup.Group
	for len(items) > 0 {
		part := items[:min(chunk, len(items))]
		items = items[len(part):]
		decode := func() error {
			for i := range part {
				part[i].object, part[i].err = decodeObject(part[i].key, part[i].kv.Value)
			}
			return nil
		}
		if len(items) == 0 {
			_ = decode() // the last part is this goroutine's
			break
		}
		g.Go(decode)
	}
	_ = g.Wait() // decode returns no error
}
