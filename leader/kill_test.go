package leader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/etcdtest"
)

// fleet is three processes that take part.
type fleet struct {
	cluster *etcdtest.Cluster
	etcd    *clientv3.Client
	nodes   map[string]*process
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	c := etcdtest.Start(t, quick)
	f := &fleet{cluster: c, etcd: c.Client(t), nodes: map[string]*process{}}
	for _, name := range []string{"a", "b", "c"} {
		f.nodes[name] = startProcess(t, name, c.Endpoints())
	}
	return f
}

// settle waits until one leads and all stand in the queue, and returns who leads.
func (f *fleet) settle(t *testing.T) *process {
	t.Helper()
	var leader *process
	eventually(t, 20*time.Second, func() error {
		r, err := f.etcd.Get(t.Context(), testPrefix+"/election/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
		if err != nil {
			return err
		}
		if len(r.Kvs) != len(f.nodes) || !strings.Contains(string(r.Kvs[0].Value), "leads") {
			return fmt.Errorf("%d in the queue, of %d", len(r.Kvs), len(f.nodes))
		}
		for name, p := range f.nodes {
			if strings.Contains(string(r.Kvs[0].Value), fmt.Sprintf("%q", name)) {
				leader = p
				return nil
			}
		}
		return errors.New("a stranger leads")
	})
	return leader
}

// next waits until another process than the given one leads, and returns when it began to.
func (f *fleet) next(t *testing.T, before *process, within time.Duration) time.Time {
	t.Helper()
	late := time.Now().Add(within)
	for time.Now().Before(late) {
		for _, p := range f.nodes {
			if p == before {
				continue
			}
			select {
			case s := <-p.said:
				if s.what == "leads" {
					return s.at
				}
			default:
			}
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("nobody leads %v after %s", within, before.name)
	return time.Time{}
}

// terminate, crash and freeze end the leader's term in their way, and return how long it took until the next began.
// Afterwards all three take part again.
func (f *fleet) terminate(t *testing.T) time.Duration {
	p := f.settle(t)
	began := p.signal(t, syscall.SIGTERM)
	took := f.next(t, p, 10*time.Second).Sub(began)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Fatal("the leader does not end after SIGTERM")
	}
	f.nodes[p.name] = startProcess(t, p.name, f.cluster.Endpoints())
	return took
}

func (f *fleet) crash(t *testing.T) time.Duration {
	p := f.settle(t)
	began := time.Now()
	p.kill()
	took := f.next(t, p, 20*time.Second).Sub(began)
	f.nodes[p.name] = startProcess(t, p.name, f.cluster.Endpoints())
	return took
}

// freeze stops the leader for three TTLs. Its writer does not look at the clock, so what it sends after that is for
// etcd to refuse.
func (f *fleet) freeze(t *testing.T) time.Duration {
	p := f.settle(t)
	for len(p.said) > 0 {
		<-p.said
	}
	began := p.signal(t, syscall.SIGSTOP)
	took := f.next(t, p, 20*time.Second).Sub(began)
	time.Sleep(time.Until(began.Add(3 * testTTL)))
	thawed := p.signal(t, syscall.SIGCONT)
	over := p.says(t, "over", 5*time.Second)
	if late := over.at.Sub(thawed); late > 500*time.Millisecond {
		t.Errorf("thawed, it knows after %v that its term is over", late)
	}
	if s := p.says(t, "refused", 5*time.Second); s.term != over.term {
		t.Errorf("refused was term %s, over is %s", s.term, over.term)
	}
	return took
}

func TestProcess_LeaderTerminated(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	if took := f.terminate(t); took > time.Second {
		t.Errorf("the next leader took %v", took)
	}
	f.settle(t)
	oneAtATime(t, f.etcd)
}

func TestProcess_LeaderKilled(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	if took := f.crash(t); took > testTTL+time.Second {
		t.Errorf("the next leader took %v", took)
	}
	f.settle(t)
	oneAtATime(t, f.etcd)
}

func TestProcess_LeaderFrozen(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	if took := f.freeze(t); took > testTTL+time.Second {
		t.Errorf("the next leader took %v", took)
	}
	f.settle(t)
	oneAtATime(t, f.etcd)
}

// TestSoak repeats what ends leaders, and prints how long it took until the next one began.
func TestSoak(t *testing.T) {
	if os.Getenv("STATIKO_SOAK") == "" {
		t.Skip("set STATIKO_SOAK=1 to repeat each kind of end 50 times")
	}
	f := startFleet(t)
	for _, kind := range []struct {
		name  string
		end   func(*testing.T) time.Duration
		bound time.Duration
	}{
		{"terminated", f.terminate, time.Second},
		{"killed", f.crash, testTTL + time.Second},
		{"frozen", f.freeze, testTTL + time.Second},
	} {
		var times []time.Duration
		for range 50 {
			took := kind.end(t)
			if took > kind.bound {
				t.Errorf("%s: the next leader took %v", kind.name, took)
			}
			times = append(times, took)
		}
		slices.Sort(times)
		at := func(percent int) time.Duration { return times[(len(times)-1)*percent/100].Round(time.Millisecond) }
		t.Logf("%-10s with a lease of %v, %d times: min %v, 10%% %v, median %v, 90%% %v, max %v", kind.name, testTTL, len(times), at(0), at(10), at(50), at(90), at(100))
	}
	f.settle(t)
	writes, terms := oneAtATime(t, f.etcd)
	t.Logf("%d fenced writes in %d terms, none after one of a later term", writes, terms)
	for _, p := range f.nodes {
		p.signal(t, syscall.SIGTERM)
		<-p.done
	}
	eventually(t, 2*testTTL, func() error {
		if n := countLeases(t, f.etcd); n != 0 {
			return fmt.Errorf("%d leases are left", n)
		}
		return nil
	})
}
