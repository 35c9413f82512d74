package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/etcdclient"
	"statiko/state"
)

// putNewer makes the head that of a state which this program is too old to change.
func putNewer(t testing.TB, etcd *clientv3.Client, prefix string, head headRecord) {
	t.Helper()
	head.MinWriter = version + 1
	value, err := head.encode()
	if err != nil {
		t.Fatal(err)
	}
	putRaw(t, etcd, prefix+"/v1/head", value)
}

// tooOld tells whether something was refused because this program is too old.
func tooOld(err error) bool {
	return errors.Is(err, state.ErrUnavailable) && strings.Contains(err.Error(), "newer version")
}

func TestJoin_ANewerVersionOfTheStateIsNotTouched(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
	mustPut(t, s, site("a.test"))
	now, _ := s.replica()
	head := now.head
	etcd := c.Client(t)
	putNewer(t, etcd, prefix, head)
	eventually(t, 10*time.Second, func() error {
		_, err := put(s, site("b.test"))
		if err == nil {
			return errors.New("it still writes")
		}
		if !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "newer version") {
			return err
		}
		return nil
	})
	if _, err := s.Restore(t.Context(), document(t, site("c.test")), 0); !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("a restore: %v", err)
	}
	reader := openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "reader"})
	if _, ok := reader.Snapshot().Site("a.test"); !ok {
		t.Fatal("it does not read")
	}
	head.MinReader = version + 1
	putNewer(t, etcd, prefix, head)
	awaitReason(t, reader, "update this node")
	if _, ok := reader.Snapshot().Site("a.test"); !ok {
		t.Fatal("it does not serve on")
	}
}

// What decides whether a node may lead: it must not while it does not know which state it is to change.
func TestChangeable_OnlyWhatIsKnownAndOfThisVersion(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	waiting := openNow(t, etcdclient.Options{Endpoints: []string{"127.0.0.1:1"}}, Options{Prefix: prefix})
	if err := waiting.Changeable(); !errors.Is(err, state.ErrUnavailable) || !strings.Contains(err.Error(), "nothing is known") {
		t.Errorf("before anything was loaded: %v", err)
	}
	kept := &memoryCopy{}
	s := openOn(t, c.Endpoints(), Options{Prefix: prefix, Copy: kept})
	if err := s.Changeable(); err != nil {
		t.Errorf("the first node of an empty etcd: %v", err)
	}
	mustPut(t, s, site("a.test"))
	now, _ := s.replica()
	putNewer(t, c.Client(t), prefix, now.head)
	eventually(t, 10*time.Second, func() error {
		if err := s.Changeable(); !tooOld(err) {
			return fmt.Errorf("of a newer version: %w", err)
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	served := openNow(t, etcdclient.Options{Endpoints: []string{"127.0.0.1:1"}}, Options{Prefix: prefix, Copy: kept})
	awaitSites(t, served, "a.test")
	if err := served.Changeable(); !tooOld(err) {
		t.Errorf("with the local copy of a newer version: %v", err)
	}
}

func TestDetached_ANewerVersionIsNotAccepted(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	etcd, ours, theirs := c.Client(t), newPrefix(), newPrefix()
	kept := &memoryCopy{}
	s := openOn(t, c.Endpoints(), Options{Prefix: ours, Copy: kept})
	mustPut(t, s, site("ours.test"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	putNewer(t, etcd, theirs, newHead(""))
	before := headOf(t, etcd, theirs)
	s = openNow(t, etcdclient.Options{Endpoints: c.Endpoints()}, Options{Prefix: theirs, Copy: kept})
	awaitReason(t, s, "another state")
	if _, err := s.Accept(t.Context()); !tooOld(err) {
		t.Errorf("accepting: %v", err)
	}
	if _, err := s.Restore(t.Context(), document(t, site("b.test")), 0); !tooOld(err) {
		t.Errorf("restoring: %v", err)
	}
	if after := headOf(t, etcd, theirs); after != before {
		t.Errorf("the head was %s and is %s", before, after)
	}
	awaitSites(t, s, "ours.test")
}

// headOf returns the head as it stands in etcd.
func headOf(t testing.TB, etcd *clientv3.Client, prefix string) string {
	t.Helper()
	r, err := etcd.Get(context.Background(), prefix+"/v1/head")
	if err != nil || len(r.Kvs) != 1 {
		t.Fatalf("the head: %v, %v", r, err)
	}
	return string(r.Kvs[0].Value)
}

// A newer program may change the state while a restore writes beside it.
func TestRestore_ANewerVersionThatCameMeanwhileIsNotTouched(t *testing.T) {
	t.Parallel()
	c, prefix := sharedCluster(t), newPrefix()
	etcd := c.Client(t)
	for name, detached := range map[string]bool{"following": false, "detached": true} {
		prefix := prefix + "-" + name
		s := openOn(t, c.Endpoints(), Options{Prefix: prefix})
		now, _ := s.replica()
		r := &restore{store: s, etcd: etcd, doc: document(t, site("a.test")), detached: detached, head: now.head}
		release, err := r.stage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		putNewer(t, etcd, prefix, now.head)
		before := headOf(t, etcd, prefix)
		if _, err := r.flip(t.Context()); !tooOld(err) {
			t.Errorf("%s: %v", name, err)
		}
		if after := headOf(t, etcd, prefix); after != before {
			t.Errorf("%s: the head was %s and is %s", name, before, after)
		}
		release()
	}
}
