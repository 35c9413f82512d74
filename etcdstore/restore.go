package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"statiko/state"
)

// Limits of a restore's requests.
const (
	// chunkKeys and chunkBytes are etcd's own limits with room to spare.
	chunkKeys  = 100
	chunkBytes = 512 << 10
	// chunksAtOnce keeps etcd busy without keeping others waiting.
	chunksAtOnce = 4
	// stagingTTL is the life, in seconds, of a restore whose writer is gone.
	stagingTTL = 60
	// assumedQuota is etcd's default, for servers that do not say theirs.
	assumedQuota = 2 << 30
	// quotaShare is how much of the quota a restore may fill.
	quotaShare = 0.9
)

// maxRestores is how often a restore that another one overtook is made again.
const maxRestores = 3

// Restore is [state.Store]'s. The new generation is written beside the one in force, and then the head is pointed to
// it. A detached store can restore: that decides which state is in force. The last of several restores wins.
func (s *Store) Restore(ctx context.Context, doc *state.Document, ifRevision int64) (int64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := s.checkKey(doc.KeyID); err != nil {
		return 0, err
	}
	for attempt := 1; ; attempt++ {
		revision, err := s.restoreOnce(ctx, doc, ifRevision)
		if errors.Is(err, state.ErrConflict) && attempt < maxRestores {
			continue
		}
		if err != nil {
			return 0, err
		}
		s.awaitLoaded(ctx, revision)
		return revision, nil
	}
}

// loadPatience bounds how long a restore that is made waits until this node has loaded it: many times what the largest
// state takes.
const loadPatience = 5 * time.Minute

// awaitLoaded waits until this node has what was restored, as long as etcd answers.
func (s *Store) awaitLoaded(ctx context.Context, revision int64) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadPatience)
	defer cancel()
	for s.Snapshot().Revision() < revision && bounded.Err() == nil {
		if s.awaitVisible(bounded, revision); !s.Health().Healthy {
			break
		}
	}
	if !s.Health().Healthy {
		s.settle(ctx, revision)
	}
}

func (s *Store) restoreOnce(ctx context.Context, doc *state.Document, ifRevision int64) (int64, error) {
	_, detached := s.replica()
	if h := s.Health(); !h.Healthy && detached == nil {
		return 0, unavailable(h.Reason)
	}
	etcd, err := s.client()
	if err != nil {
		return 0, unavailable(err)
	}
	r := restore{store: s, etcd: etcd, doc: doc, ifRevision: ifRevision, detached: detached != nil}
	return r.run(ctx)
}

// restore is one restore under way.
type restore struct {
	store      *Store
	etcd       *clientv3.Client
	doc        *state.Document
	ifRevision int64
	detached   bool

	head headRecord
	// gen is the generation being written, proof the revision at which its staging key was created.
	gen, proof int64
}

func (r *restore) run(ctx context.Context) (int64, error) {
	s := r.store
	now, _ := s.replica()
	ours := now.head
	if r.ifRevision != 0 && s.Snapshot().Revision() != r.ifRevision {
		return 0, r.precondition()
	}
	if err := r.fits(ctx); err != nil {
		return 0, err
	}
	head, _, err := s.readHead(ctx, r.etcd)
	switch {
	case err != nil:
		return 0, unavailable(etcdError(err))
	case !r.detached && (head == nil || head.ID != ours.ID || head.Epoch != ours.Epoch):
		s.kick()
		return 0, unavailable("etcd has another state than this node, which is being looked at")
	case head == nil:
		fresh := newHead(s.options.KeyID)
		head = &fresh
		if ours.ID != "" {
			head.ID = ours.ID
		}
	}
	if err := head.changeable(); err != nil {
		return 0, err
	}
	r.head = *head
	if r.detached {
		r.head = head.decided(ours)
		r.head.Generation = max(r.head.Generation, ours.Generation)
	}
	release, err := r.stage(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if err := r.write(ctx); err != nil {
		return 0, err
	}
	return r.flip(ctx)
}

func (r *restore) precondition() error {
	return state.Errorf(state.ErrPrecondition, state.Key{}, "", "the state has revision %d, not %d; look at it again",
		r.store.Snapshot().Revision(), r.ifRevision)
}

// fits refuses a restore that would fill etcd before its first write.
func (r *restore) fits(ctx context.Context) error {
	size := int64(0)
	for o := range r.doc.All() {
		data, err := o.MarshalJSON()
		if err != nil {
			return err
		}
		// A key and a record of etcd's own beside each value.
		size += int64(len(data)+len(o.Key().Name)) + 200
		if site, ok := o.(*state.Site); ok {
			size += 250 * int64(1+len(site.Aliases))
		}
	}
	used, quota, err := r.store.size(ctx, r.etcd)
	if err != nil {
		return unavailable(etcdError(err))
	}
	if free := int64(float64(quota)*quotaShare) - used; size > free {
		return state.Errorf(state.ErrTooLarge, state.Key{}, "",
			"the restore needs about %d MiB of etcd, which has %d MiB left of its quota; compact and defragment etcd, or raise --quota-backend-bytes",
			size>>20, max(free, 0)>>20)
	}
	return nil
}

// size returns how much of its quota etcd uses, in bytes.
func (s *Store) size(ctx context.Context, etcd *clientv3.Client) (used, quota int64, err error) {
	for _, endpoint := range etcd.Endpoints() {
		bounded, cancel := s.bounded(ctx)
		var st *clientv3.StatusResponse
		st, err = etcd.Status(bounded, endpoint)
		cancel()
		if err != nil {
			continue
		}
		quota = st.DbSizeQuota
		if quota <= 0 {
			quota = assumedQuota
		}
		// What is free within the file can be used again.
		used = st.DbSizeInUse
		if used <= 0 {
			used = st.DbSize
		}
		return used, quota, nil
	}
	return 0, 0, err
}

// stage takes a generation that nobody uses, under a lease that ends with this restore.
func (r *restore) stage(ctx context.Context) (release func(), err error) {
	s := r.store
	bounded, cancel := s.bounded(ctx)
	lease, err := r.etcd.Grant(bounded, stagingTTL)
	cancel()
	if err != nil {
		return nil, unavailable(etcdError(err))
	}
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	drained := make(chan struct{})
	release = func() {
		stop()
		<-drained
		bounded, cancel := s.bounded(context.WithoutCancel(ctx))
		defer cancel()
		// If this fails, the lease ends by itself.
		_, _ = r.etcd.Revoke(bounded, lease.ID)
	}
	kept, err := r.etcd.KeepAlive(alive, lease.ID)
	if err != nil {
		close(drained)
		release()
		return nil, unavailable(etcdError(err))
	}
	go func() {
		defer close(drained)
		for range kept { // The answers must be taken.
		}
	}()
	for r.gen = r.head.Generation + 1; ; r.gen++ {
		bounded, cancel := context.WithTimeout(ctx, s.timeout())
		prefix := s.keys.gen(r.gen)
		t, err := r.etcd.Txn(bounded).If(
			clientv3.Compare(clientv3.CreateRevision(s.keys.staging(r.gen)), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(prefix).WithPrefix(), "=", 0),
		).Then(clientv3.OpPut(s.keys.staging(r.gen), s.options.NodeName, clientv3.WithLease(lease.ID))).Commit()
		cancel()
		if err != nil {
			release()
			return nil, unavailable(etcdError(err))
		}
		if t.Succeeded {
			r.proof = t.Header.Revision
			return release, nil
		}
	}
}

// write puts all objects and their names into the staged generation.
func (r *restore) write(ctx context.Context) error {
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(chunksAtOnce)
	var chunk []clientv3.Op
	size := 0
	send := func() {
		ops := chunk
		chunk, size = nil, 0
		if len(ops) > 0 && each.Err() == nil {
			g.Go(func() error { return r.put(each, ops) })
		}
	}
	add := func(key, value string) {
		chunk = append(chunk, clientv3.OpPut(key, value))
		if size += len(key) + len(value); len(chunk) >= chunkKeys || size >= chunkBytes {
			send()
		}
	}
	for o := range r.doc.All() {
		data, err := o.MarshalJSON()
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		add(r.store.keys.object(r.gen, o.Key()), string(data))
		if site, ok := o.(*state.Site); ok {
			for _, name := range site.Names() {
				add(r.store.keys.object(r.gen, state.Key{Kind: state.KindName, Name: name}), fmt.Sprintf("%q", site.Domain))
			}
		}
	}
	send()
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// put writes one chunk, and tries again until it is there: a put may be repeated.
func (r *restore) put(ctx context.Context, ops []clientv3.Op) error {
	deadline := time.Now().Add(r.store.timeout())
	for {
		bounded, cancel := context.WithTimeout(ctx, r.store.timeout())
		t, err := r.etcd.Txn(bounded).If(r.staged()).Then(ops...).Commit()
		cancel()
		switch {
		case err == nil && t.Succeeded:
			return nil
		case err == nil:
			return unavailable("the restore took too long and lost its place in etcd; try again")
		case errors.Is(err, rpctypes.ErrNoSpace):
			r.store.setHealth(errNoSpace)
			return unavailable(errNoSpace)
		case refusal(err) != nil:
			return refusal(err)
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return unavailable(etcdError(err))
		}
		if err := sleep(ctx, retryPause); err != nil {
			return err
		}
	}
}

// staged holds as long as the staged generation is this restore's.
func (r *restore) staged() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(r.store.keys.staging(r.gen)), "=", r.proof)
}

// flip puts the generation in force. It is repeated until its outcome is known, as in [Store.Commit].
func (r *restore) flip(ctx context.Context) (int64, error) {
	s := r.store
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	uncertain := false
	for {
		next := r.head
		next.Generation = r.gen
		next.KeyID = r.doc.KeyID
		if next.KeyID == "" {
			next.KeyID = s.options.KeyID
		}
		value, err := next.encode()
		if err != nil {
			return 0, err
		}
		compares := []clientv3.Cmp{r.staged(), clientv3.Compare(clientv3.ModRevision(s.keys.head()), "=", r.head.revision)}
		if r.ifRevision != 0 {
			compares = append(compares, clientv3.Compare(clientv3.ModRevision(s.keys.ops()).WithPrefix(), "<", r.head.lower(r.ifRevision)+1))
		}
		bounded, cancelAttempt := s.bounded(ctx)
		t, err := r.etcd.Txn(bounded).If(compares...).Then(
			clientv3.OpPut(s.keys.head(), value), clientv3.OpDelete(s.keys.staging(r.gen)),
			clientv3.OpPut(s.keys.op(s.options.NodeName), rand.Text()),
		).Else(clientv3.OpGet(s.keys.head())).Commit()
		cancelAttempt()
		if err != nil {
			if refused := refusal(err); refused != nil && !uncertain {
				return 0, refused
			}
			uncertain = uncertain || !notSent(err)
			if sleep(ctx, retryPause) != nil {
				if s.kick(); !uncertain {
					return 0, unavailable(etcdError(err))
				}
				return 0, fmt.Errorf("%w: the restore was sent, but %v; look whether it was made before trying again", state.ErrUnknown, etcdError(err))
			}
			continue
		}
		if t.Succeeded {
			return next.lift(t.Header.Revision), nil
		}
		kvs := rangeOf(t, 0)
		if len(kvs) == 0 {
			return 0, unavailable("the head is gone from etcd")
		}
		now, err := decodeHead(kvs[0])
		switch {
		case err != nil && !uncertain:
			return 0, unavailable(err)
		case err != nil || uncertain && now.Generation > r.gen:
			return 0, fmt.Errorf("%w: the restore was sent, and another one came after it; look whether it was made before trying again", state.ErrUnknown)
		case now.Generation == r.gen:
			return now.lift(now.revision), nil // an attempt that was cut off has done it
		case now.revision == r.head.revision && r.ifRevision != 0:
			return 0, r.precondition()
		case now.revision == r.head.revision:
			return 0, unavailable("the restore took too long and lost its place in etcd; try again")
		case now.Generation > r.gen || r.ifRevision != 0:
			return 0, fmt.Errorf("another restore was quicker: %w; look at the state and try again", state.ErrConflict)
		}
		// Another restore, of a lower generation, came first: this one is the last, and wins.
		if err := now.changeable(); err != nil {
			if uncertain {
				return 0, fmt.Errorf("%w: the restore was sent, but %v; look whether it was made before trying again", state.ErrUnknown, err)
			}
			return 0, err
		}
		if !r.detached {
			r.head = now
			continue
		}
		ours := r.head
		r.head = now
		if now.Epoch < ours.Epoch || now.ID != ours.ID {
			r.head = now.decided(ours)
		}
	}
}
