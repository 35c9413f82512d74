package cluster

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/etcdclient"
	"statiko/state"
)

func TestRegister_RestartOfTheSameInstanceTakesItsNameAtOnce(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	// Long enough that nobody can have waited for the end of the old lease.
	long := func(o *Options) {
		o.Sessions = etcdclient.NewSessions(o.Client, etcdclient.SessionOptions{TTL: etcdclient.MaxTTL})
	}
	id := newUUID()
	a := startNode(t, etcd.Endpoints()[0], "a", id, long)
	b := startNode(t, etcd.Endpoints()[0], "b", newUUID(), nil)
	registered(t, a, b)
	before, _ := b.cluster.member("a")
	old, _ := a.sessions.Current()
	a.kill()
	again := startNode(t, etcd.Endpoints()[0], "a", id, long)
	registered(t, again)
	eventually(t, patience, func() error {
		if m, _ := b.cluster.member("a"); m.Address != again.api.URL || !m.Since.After(before.Since) || !m.FirstSeen.Equal(before.FirstSeen) {
			return fmt.Errorf("b knows %+v", m)
		}
		return nil
	})
	// The end of the old process's lease takes nothing away.
	client := etcd.Client(t)
	if _, err := client.Revoke(t.Context(), old.Lease()); err != nil {
		t.Fatalf("the old lease: %v", err)
	}
	b.put("one.test")
	if r, err := client.Get(t.Context(), "/test/v1/nodes/a"); err != nil || len(r.Kvs) != 1 {
		t.Errorf("the presence is %v, %v", r, err)
	}
}

// Another instance with the same name waits, is refused by both addresses, serves on unregistered, and gets the name
// once it is free.
func TestRegister_ConflictOfNames(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), nil)
	registered(t, a)
	other := startNode(t, etcd.Endpoints()[0], "a", newUUID(), nil)
	began := time.Now()
	eventually(t, patience, func() error {
		why := other.cluster.Self(t.Context(), Query{}).Unregistered
		if !strings.Contains(why, a.api.URL) || !strings.Contains(why, other.api.URL) || !strings.Contains(why, "nodeName") {
			return fmt.Errorf("it says %q", why)
		}
		return nil
	})
	if took := time.Since(began); took < ttl {
		t.Errorf("refused after %v", took)
	}
	registered(t, a)
	// It serves on: it reads and changes the state, and its status has both.
	eventually(t, patience, func() error {
		_, err := other.store.Update(t.Context(), func(d *state.Draft) error { return d.Put(&state.Site{Domain: "one.test"}) })
		return err
	})
	states := map[string]string{}
	for _, s := range other.cluster.Statuses(t.Context()) {
		states[s.InstanceID] = s.State
	}
	if len(states) != 2 || states[a.id] != StateUp || states[other.id] != StateUnregistered {
		t.Errorf("it sees %v", states)
	}
	a.stop()
	registered(t, other)
}

// Two processes with copies of one data folder: the newer one has the name, and the older one does not fight for it.
func TestRegister_CopiedDataFolder(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	id := newUUID()
	a := startNode(t, etcd.Endpoints()[0], "a", id, nil)
	registered(t, a)
	copied := startNode(t, etcd.Endpoints()[0], "a", id, nil)
	registered(t, copied)
	eventually(t, patience, func() error {
		if why := a.cluster.unregistered(); !strings.Contains(why, copied.api.URL) {
			return fmt.Errorf("the older one says %q", why)
		}
		return nil
	})
	revision := copied.store.Snapshot().RevisionOf(presenceKey("a"))
	time.Sleep(2 * time.Second)
	if now := copied.store.Snapshot().RevisionOf(presenceKey("a")); now != revision {
		t.Errorf("the presence was written again, at %d after %d", now, revision)
	}
	copied.stop()
	registered(t, a)
}

// Many nodes that start at once with one name: one has it, and its record and presence are of the same node.
func TestRegister_RaceForAName(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	var nodes []*testNode
	for range 4 {
		nodes = append(nodes, startNode(t, etcd.Endpoints()[0], "a", newUUID(), nil))
	}
	eventually(t, patience, func() error {
		var holders []*testNode
		for _, n := range nodes {
			if n.cluster.unregistered() == "" {
				holders = append(holders, n)
			} else if !strings.Contains(n.cluster.unregistered(), "waits for the name") {
				return fmt.Errorf("one says %s", n.cluster.unregistered())
			}
		}
		if len(holders) != 1 {
			return fmt.Errorf("%d nodes have the name", len(holders))
		}
		if m, ok := holders[0].cluster.member("a"); !ok || !m.Up || m.InstanceID != holders[0].id {
			return fmt.Errorf("the record is %+v", m)
		}
		return nil
	})
}

// A registration that somebody removes by hand is made again, and nothing is written while nothing changes.
func TestRegister_RepairedAndQuiet(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), nil)
	registered(t, a)
	client := etcd.Client(t)
	for _, key := range []string{"/test/v1/members/a", "/test/v1/nodes/a"} {
		r, err := client.Delete(t.Context(), key)
		if err != nil || r.Deleted != 1 {
			t.Fatalf("delete %s: %v, %v", key, r, err)
		}
		eventually(t, patience, func() error {
			g, err := client.Get(t.Context(), key)
			if err == nil && len(g.Kvs) == 0 {
				err = fmt.Errorf("%s is not there", key)
			}
			return err
		})
		registered(t, a)
	}
	before, err := client.Get(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * ttl)
	after, err := client.Get(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if before.Header.Revision != after.Header.Revision {
		t.Errorf("etcd went from revision %d to %d", before.Header.Revision, after.Header.Revision)
	}
}

// A node whose key was replaced is trusted with the new one, and with the old one no longer.
func TestRegister_NewKeyOfTheAPI(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	a := startNode(t, etcd.Endpoints()[0], "a", newUUID(), nil)
	b := startNode(t, etcd.Endpoints()[0], "b", newUUID(), nil)
	registered(t, a, b)
	pair, pin := newKey(t)
	b.api.TLS.Certificates = []tls.Certificate{pair}
	// Somebody else answers there now, as far as others know.
	b.api.CloseClientConnections()
	b.cluster.peers.close()
	a.cluster.peers.close()
	eventually(t, patience, func() error {
		s := find(t, a.cluster.Statuses(t.Context()), "b")
		if s.State != StateUnreachable || !strings.Contains(s.Reason, "another key") {
			return fmt.Errorf("%s: %s", s.State, s.Reason)
		}
		return nil
	})
	b.pin.Store(&pin)
	b.put("one.test") // looks are made at changes too
	eventually(t, patience, func() error {
		if s := find(t, a.cluster.Statuses(t.Context()), "b"); s.State != StateUp || s.Pin != pin {
			return fmt.Errorf("%s: %s", s.State, s.Reason)
		}
		return nil
	})
}

func TestInstanceID_StaysAndIsItsOwners(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "instance")
	id, err := InstanceID(path)
	if err != nil || !uuidText.MatchString(id) {
		t.Fatalf("%q, %v", id, err)
	}
	if again, err := InstanceID(path); err != nil || again != id {
		t.Errorf("%q became %q, %v", id, again, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, bad := range []string{"", "hello", id[:20], strings.ToUpper(id) + "x"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := InstanceID(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q gave %q, %v", bad, got, err)
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != bad {
			t.Errorf("the file was changed to %q, %v", left, err)
		}
	}
	if _, err := InstanceID(filepath.Join(t.TempDir(), "no/such/folder")); err == nil {
		t.Error("no error without the folder")
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		advertise, host string
		port            int
		secure          bool
		want            string
	}{
		{"", "edge-1.example.org", 2265, true, "https://edge-1.example.org:2265"},
		{"10.0.0.7", "edge-1", 2265, true, "https://10.0.0.7:2265"},
		{"10.0.0.7:99", "edge-1", 2265, false, "http://10.0.0.7:99"},
		{"::1", "edge-1", 2265, true, "https://[::1]:2265"},
		{"[::1]:7", "edge-1", 2265, true, "https://[::1]:7"},
		{"", "", 2265, true, ""},
		{"a/b", "", 2265, true, ""},
		{"user@host", "", 2265, true, ""},
	} {
		got, err := Address(test.advertise, test.host, test.port, test.secure)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
