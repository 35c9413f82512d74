package etcdstore

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"statiko/etcdclient"
	"statiko/state"
	"statiko/test/etcdtest"
)

// shared is the server of all tests that leave it as it is. Each has a prefix of its own.
var shared struct {
	once    sync.Once
	cluster *etcdtest.Cluster
	end     func()
	number  atomic.Int64
}

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for timeouts and for servers more than they work.
	if err := flag.Set("test.parallel", "5"); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	if shared.end != nil {
		shared.end()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// soak tells whether the long forms of tests are wanted.
func soak() bool { return os.Getenv("STATIKO_SOAK") == "1" }

// packageTB stands in for a test whose end is that of the package.
type packageTB struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
	folder   string
}

func (p *packageTB) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}
func (p *packageTB) Failed() bool { return false }
func (p *packageTB) TempDir() string {
	folder, err := os.MkdirTemp(p.folder, "")
	if err != nil {
		p.Fatal(err)
	}
	return folder
}

// sharedCluster returns the shared server.
func sharedCluster(t testing.TB) *etcdtest.Cluster {
	t.Helper()
	shared.once.Do(func() {
		folder, err := os.MkdirTemp("", "etcdstore-test-")
		if err != nil {
			t.Fatal(err)
		}
		p := &packageTB{TB: t, folder: folder}
		shared.end = func() {
			for _, f := range p.cleanups {
				f()
			}
			os.RemoveAll(folder)
		}
		shared.cluster = etcdtest.Start(p, etcdtest.Options{})
	})
	return shared.cluster
}

// newPrefix returns a prefix that no other test has.
func newPrefix() string { return fmt.Sprintf("/test-%d", shared.number.Add(1)) }

// testLog returns a log that is shown with a test that failed.
func testLog(t testing.TB, node string) *zap.Logger {
	if os.Getenv("STATIKO_TEST_LOG") == "" {
		return zap.NewNop()
	}
	return zaptest.NewLogger(t).Named(node)
}

// testTimeout is the timeout of requests.
const testTimeout = 2 * time.Second

// openOn opens a store that waits until there is a state.
func openOn(t testing.TB, endpoints []string, o Options) *Store {
	t.Helper()
	s := openNow(t, etcdclient.Options{Endpoints: endpoints, Timeout: testTimeout}, o)
	awaitHealthy(t, s)
	return s
}

// openNow opens a store that ends with the test, without waiting.
func openNow(t testing.TB, co etcdclient.Options, o Options) *Store {
	t.Helper()
	if co.Timeout == 0 {
		co.Timeout = testTimeout
	}
	client, err := etcdclient.Open(co)
	if err != nil {
		t.Fatal(err)
	}
	o.Client = client
	if o.NodeName == "" {
		o.NodeName = "node-1"
	}
	if o.Log == nil {
		o.Log = testLog(t, o.NodeName)
	}
	s, err := Open(o)
	if err != nil {
		client.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eventually waits until check returns nil, and prints its last error if it never does.
func eventually(t testing.TB, limit time.Duration, check func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			t.Fatalf("waited %v in vain: %v", limit, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func awaitHealthy(t testing.TB, s *Store) time.Duration {
	t.Helper()
	return eventually(t, 30*time.Second, func() error {
		if h := s.Health(); !h.Healthy {
			return fmt.Errorf("health is %q", h.Reason)
		}
		return nil
	})
}

// awaitReason waits until the store is not healthy, for the reason.
func awaitReason(t testing.TB, s *Store, reason string) time.Duration {
	t.Helper()
	return eventually(t, 30*time.Second, func() error {
		if h := s.Health(); h.Healthy || !strings.Contains(h.Reason, reason) {
			return fmt.Errorf("health is %v, %q, want %q", h.Healthy, h.Reason, reason)
		}
		return nil
	})
}

func site(domain string, aliases ...string) *state.Site {
	return &state.Site{Domain: domain, Aliases: aliases, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

func put(s *Store, objects ...state.Object) (int64, error) {
	return s.Update(context.Background(), func(d *state.Draft) error {
		for _, o := range objects {
			if err := d.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
}

func mustPut(t testing.TB, s *Store, objects ...state.Object) int64 {
	t.Helper()
	revision, err := put(s, objects...)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return revision
}

// mustFail makes a change that must fail as one on an etcd that is not there.
func mustFail(t testing.TB, s *Store, domain string) error {
	t.Helper()
	_, err := put(s, site(domain))
	if !errors.Is(err, state.ErrUnavailable) && !errors.Is(err, state.ErrUnknown) {
		t.Fatalf("a change of %s got %v", domain, err)
	}
	return err
}

// sites returns the domains of all sites.
func sites(s *state.Snapshot) []string {
	var all []string
	for site := range s.Sites() {
		all = append(all, site.Domain)
	}
	return all
}

// awaitSites waits until the store has exactly these sites.
func awaitSites(t testing.TB, s *Store, want ...string) time.Duration {
	t.Helper()
	return eventually(t, 20*time.Second, func() error {
		if got := sites(s.Snapshot()); strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("sites are %v, want %v", got, want)
		}
		return nil
	})
}

// document returns a document of sites.
func document(t testing.TB, sites ...*state.Site) *state.Document {
	t.Helper()
	doc, err := state.ParseDocument(documentText(t, sites...))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func documentText(t testing.TB, sites ...*state.Site) []byte {
	t.Helper()
	text := []byte(`{"sites":[`)
	for i, s := range sites {
		raw, err := s.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, raw...)
	}
	return append(text, "]}"...)
}

// manySites returns n sites with one alias each.
func manySites(prefix string, n int) []*state.Site {
	var all []*state.Site
	for i := range n {
		domain := fmt.Sprintf("%s-%06d.test", prefix, i)
		all = append(all, site(domain, "www."+domain))
	}
	return all
}

// term is a term of leadership: a key that lasts until it is deleted.
type term struct {
	key      string
	revision int64
	over     atomic.Bool
}

func (f *term) Over() bool             { return f.over.Load() }
func (f *term) Proof() (string, int64) { return f.key, f.revision }

// newTerm begins a term. With quietly, its holder does not learn of its end.
func newTerm(t testing.TB, etcd *clientv3.Client, key string, quietly bool) (*term, func()) {
	t.Helper()
	lease, err := etcd.Grant(context.Background(), 600)
	if err != nil {
		t.Fatal(err)
	}
	r, err := etcd.Put(context.Background(), key, "", clientv3.WithLease(lease.ID))
	if err != nil {
		t.Fatal(err)
	}
	f := &term{key: key, revision: r.Header.Revision}
	return f, func() {
		if _, err := etcd.Revoke(context.Background(), lease.ID); err != nil {
			t.Error(err)
		}
		f.over.Store(!quietly)
	}
}
