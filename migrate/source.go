package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"statiko/api"
	"statiko/filestore"
	"statiko/state"
)

// source is what is copied from.
type source interface {
	// snapshot is the state that is copied; it stays the same until reread.
	snapshot() *state.Snapshot
	// id is that of the state; "" for a file.
	id() string
	// marker says where the state was moved to before; nil if it was not.
	marker() *filestore.Marker
	// warnings are what speaks against nothing, but should be known.
	warnings() []string
	// verify makes sure that the source still has what the digest names. The error is errChanged if it has not;
	// then snapshot is the newer state.
	verify(ctx context.Context, digest string) error
	// mark notes at the source that its state was moved, if that can be noted there.
	mark(ctx context.Context, m filestore.Marker) error
	// close releases the source and, unless it was marked, lets it go on as before.
	close() error
}

// errChanged: the source was changed after it was read.
var errChanged = errors.New("the source was changed meanwhile")

// openSource opens the place to copy from. A dry run freezes nothing.
func openSource(ctx context.Context, p Place, o *Options) (source, error) {
	if p.File == "" {
		e, err := openEtcd(ctx, p, false, o.Log)
		if err != nil {
			return nil, err
		}
		if e == nil {
			return nil, refuse("", "there is no state in %s", p)
		}
		return &etcdSource{etcdPlace: e, now: e.Snapshot(), log: o.Log}, nil
	}
	r, err := filestore.Read(filestore.Options{Path: p.File, KeyID: p.Keyring.ID(), KnownKeyIDs: p.Keyring.IDs(), Log: o.Log})
	if locked, ok := errors.AsType[*filestore.LockedError](err); ok {
		return openNode(ctx, p, locked, o)
	}
	if err != nil {
		return nil, err
	}
	if !r.Exists() {
		return nil, errors.Join(refuse("", "there is no state in %s", p), r.Close())
	}
	return &fileSource{r}, nil
}

// fileSource is a file that no node uses.
type fileSource struct{ *filestore.Reading }

func (s *fileSource) snapshot() *state.Snapshot            { return s.Snapshot() }
func (s *fileSource) id() string                           { return "" }
func (s *fileSource) marker() *filestore.Marker            { return s.Moved() }
func (s *fileSource) verify(context.Context, string) error { return nil } // the lock is held
func (s *fileSource) close() error                         { return s.Close() }

func (s *fileSource) warnings() (w []string) {
	for _, r := range s.Repairs() {
		w = append(w, "in the source's file: "+r)
	}
	for _, name := range s.Unknown() {
		w = append(w, fmt.Sprintf("the member %q of the source's file is not known to this version, and stays behind", name))
	}
	return w
}

func (s *fileSource) mark(_ context.Context, m filestore.Marker) error {
	if err := s.MarkMoved(m); err != nil {
		return fmt.Errorf("mark the file as moved: %w", err)
	}
	return nil
}

// etcdSource is a state in etcd. It cannot be frozen.
type etcdSource struct {
	*etcdPlace
	now *state.Snapshot
	log *zap.Logger
}

func (s *etcdSource) snapshot() *state.Snapshot { return s.now }
func (s *etcdSource) id() string                { return s.now.Head().ID }
func (s *etcdSource) marker() *filestore.Marker { return nil }
func (s *etcdSource) close() error              { return s.Close() }

// warnings names the nodes that use the state now.
func (s *etcdSource) warnings() (w []string) {
	for o := range s.now.Objects(state.KindNode) {
		w = append(w, fmt.Sprintf("the node %s is up and uses etcd: what it changes there from now on stays there; stop it first", o.Key().Name))
	}
	return w
}

// mark does nothing: a state in etcd is left as it is.
func (s *etcdSource) mark(context.Context, filestore.Marker) error { return nil }

// verify loads the state anew: what the replica has may lag behind.
func (s *etcdSource) verify(ctx context.Context, digest string) error {
	e, err := openEtcd(ctx, s.place, false, s.log)
	if err != nil {
		return err
	}
	if e == nil {
		return fmt.Errorf("the state is gone from %s", s.place)
	}
	old := s.etcdPlace
	s.etcdPlace, s.now = e, e.Snapshot()
	if err := old.Close(); err != nil {
		return err
	}
	now, err := filestore.Digest(s.now)
	if err == nil && now != digest {
		err = errChanged
	}
	return err
}

// Times of a freeze.
const (
	// freezeFor is how long a node refuses changes after this process died.
	freezeFor     = 2 * time.Minute
	freezeProlong = 20 * time.Second
	// thawPatience bounds telling the node that it can go on.
	thawPatience = 10 * time.Second
)

// nodeSource is the file of a running node, which is frozen.
type nodeSource struct {
	client *api.Client
	// frozen is nil in a dry run, and if the state was moved before.
	frozen *api.Frozen
	now    *state.Snapshot
	moved  *filestore.Marker
	// stop ends prolonging the freeze, and done is closed then.
	stop   context.CancelFunc
	done   chan struct{}
	marked bool
}

// openNode freezes the node that uses the file, unless it is a dry run, and gets its state.
func openNode(ctx context.Context, p Place, locked *filestore.LockedError, o *Options) (_ source, err error) {
	inUse := fmt.Sprintf("%s is in use (%v)", p, locked)
	if p.Connect == nil {
		return nil, refuse("stop the node, and run this again", "%s", inUse)
	}
	client, err := p.Connect()
	if err != nil {
		return nil, &Refusal{Message: inUse + ", and the node cannot be asked to freeze", Hint: "stop the node, and run this again", Cause: err}
	}
	s := &nodeSource{client: client, stop: func() {}}
	if s.moved, err = filestore.MovedFrom(p.File); err != nil {
		return nil, errors.Join(err, s.close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if !o.DryRun && (s.moved == nil || o.Replace) {
		if s.frozen, err = client.Freeze(ctx, api.Freeze{Seconds: int(freezeFor / time.Second), Reason: "the state is being moved to " + o.To.String()}); err != nil {
			return nil, fmt.Errorf("%s; freeze the node at %s: %w", inUse, client.Address(), err)
		}
		if s.frozen.File != p.resolved() {
			return nil, refuse("stop the node that uses the file, and run this again",
				"%s, but the node at %s uses %q", inUse, client.Address(), s.frozen.File)
		}
		o.Progress("froze the running node at %s: changes are refused, sites are served", client.Address())
		s.prolong(ctx, o)
	}
	if err := s.read(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// prolong keeps the node frozen until close. If it cannot, mark will be refused.
func (s *nodeSource) prolong(ctx context.Context, o *Options) {
	ctx, s.stop = context.WithCancel(ctx)
	s.done = make(chan struct{})
	token := s.frozen.Token
	go func() {
		defer close(s.done)
		ticker := time.NewTicker(freezeProlong)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if _, err := s.client.Freeze(ctx, api.Freeze{Seconds: int(freezeFor / time.Second), Token: token}); err != nil && ctx.Err() == nil {
				o.Log.Warn("the freeze could not be prolonged", zap.Error(err))
			}
		}
	}()
}

func (s *nodeSource) snapshot() *state.Snapshot            { return s.now }
func (s *nodeSource) id() string                           { return "" }
func (s *nodeSource) marker() *filestore.Marker            { return s.moved }
func (s *nodeSource) warnings() []string                   { return nil }
func (s *nodeSource) verify(context.Context, string) error { return nil } // mark does

func (s *nodeSource) read(ctx context.Context) error {
	var data bytes.Buffer
	var seen api.Answer
	if err := s.client.State(ctx, &data, api.Observe(&seen)); err != nil {
		return fmt.Errorf("get the state of the node at %s: %w", s.client.Address(), err)
	}
	doc, err := state.ParseDocument(data.Bytes())
	if err != nil {
		return err
	}
	if s.frozen != nil && seen.Revision != s.frozen.Revision {
		return fmt.Errorf("the node at %s is frozen at revision %d, but answers with %d", s.client.Address(), s.frozen.Revision, seen.Revision)
	}
	s.now = state.NewSnapshot(state.Head{KeyID: doc.KeyID}, 0).Restored(doc, max(seen.Revision, 1))
	return nil
}

// mark has the node itself mark its file, which it does only if it is frozen still and has what was copied.
func (s *nodeSource) mark(ctx context.Context, m filestore.Marker) error {
	_, err := s.client.Freeze(ctx, api.Freeze{Token: s.frozen.Token, Moved: &api.Moved{
		Target: m.Target, TargetID: m.TargetID, Revision: m.Revision, Digest: m.Digest,
	}})
	if err != nil {
		return fmt.Errorf("have the node at %s mark its file as moved: %w", s.client.Address(), err)
	}
	s.marked = true
	return nil
}

func (s *nodeSource) close() error {
	s.stop()
	if s.done != nil {
		<-s.done
	}
	var err error
	if s.frozen != nil && !s.marked {
		ctx, cancel := context.WithTimeout(context.Background(), thawPatience)
		defer cancel()
		if err = s.client.Unfreeze(ctx, api.Unfreeze{Token: s.frozen.Token}); err != nil {
			err = fmt.Errorf("the node at %s takes changes again at %s: %w", s.client.Address(), s.frozen.Until.Format(time.RFC3339), err)
		}
	}
	s.client.Close()
	return err
}
