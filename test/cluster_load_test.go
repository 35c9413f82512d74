package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"statiko/api"
	"statiko/state"
	"statiko/test/cluster"
)

// load asks nodes for their state, their status and their sites all the time, all of which must always answer, and
// adds sites, of which it keeps what became of each.
type load struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu       sync.Mutex
	failures []string
	// reads and pages count what was answered.
	reads, pages int
	tries        []attempt
}

// attempt is a site that somebody tried to add.
type attempt struct {
	domain string
	at     time.Time
	took   time.Duration
	err    error
}

// loadPair is the imported certificate of the sites that are added, which so need nobody to make one: a site that has
// to wait for its certificate would be a reason for /status to be 503.
const loadPair = "load"

// importLoadPair imports it, which has to be done before startLoad.
func importLoadPair(t testing.TB, n *cluster.Node) {
	t.Helper()
	cluster.Must(t, n.API(t).ImportCertificate(context.Background(), cluster.SelfMade(loadPair, "*.example.org")))
}

// startLoad asks the nodes from now on; domain is a site that they all serve. It ends with the test.
func startLoad(t testing.TB, domain string, nodes ...*cluster.Node) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	pace := time.Duration(4) // many processes share the machine with the quick suite
	if soak() {
		pace = 1
	}
	for i, n := range nodes {
		l.each(ctx, pace*5*time.Millisecond, func() { l.page(n, domain) })
		client := n.Client()
		l.each(ctx, pace*10*time.Millisecond, func() { l.read(ctx, n, client) })
		number := 0
		l.each(ctx, 50*time.Millisecond, func() {
			number++
			l.write(client, fmt.Sprintf("load-%d-%d-%d.example.org", i, time.Now().UnixMilli(), number))
		})
		t.Cleanup(client.Close)
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	l.all.Wait()
}

func (l *load) each(ctx context.Context, pause time.Duration, do func()) {
	l.all.Go(func() {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for ctx.Err() == nil {
			do()
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	})
}

func (l *load) failed(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Sprintf(format, args...))
}

func (l *load) page(n *cluster.Node, domain string) {
	v := cluster.NewVisitor(n)
	defer v.Close()
	p, err := v.Get("https://" + domain + "/")
	if err != nil || p.Status != http.StatusOK {
		l.failed("%s: https://%s/: %+v, %v", n.Name(), domain, p, err)
		return
	}
	l.mu.Lock()
	l.pages++
	l.mu.Unlock()
}

func (l *load) read(ctx context.Context, n *cluster.Node, c *api.Client) {
	_, err := c.Sites(ctx)
	var s *api.Status
	if err == nil {
		s, err = c.Status(ctx, "", false)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil || s == nil || !s.Nginx.Running {
		l.failed("%s: read: %v, %+v", n.Name(), err, s)
		return
	}
	l.mu.Lock()
	l.reads += 2
	l.mu.Unlock()
}

func (l *load) write(c *api.Client, domain string) {
	began := time.Now()
	_, err := c.CreateSite(context.Background(), api.SiteCreate{
		Domain: domain, TLS: &api.SiteTLS{Type: "imported", Certificate: loadPair},
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries = append(l.tries, attempt{domain, began, time.Since(began), err})
}

// outage is when etcd was away, as far as the test did it.
type outage struct{ from, to time.Time }

// judge ends the load, and says what was wrong. What was acknowledged must be on all nodes, and what was refused must
// not; what was sent during the outage must have been refused in time.
func (l *load) judge(t testing.TB, o outage, nodes ...*cluster.Node) {
	t.Helper()
	l.stop()
	for i, f := range l.failures {
		if i == 5 {
			t.Errorf("… and %d more", len(l.failures)-i)
			break
		}
		t.Error(f)
	}
	there := make([]map[string]bool, len(nodes))
	for i, n := range nodes {
		list, err := n.Sites()
		cluster.Must(t, err)
		there[i] = map[string]bool{}
		for _, d := range list {
			there[i][d] = true
		}
	}
	var accepted, refusals, unknown, late int
	longest := time.Duration(0)
	for _, a := range l.tries {
		if a.err != nil {
			refusals++
			longest = max(longest, a.took)
			if _, err := cluster.Refused(a.err, a.took); err != nil {
				t.Errorf("add %s, %s after etcd went: %v", a.domain, a.at.Sub(o.from), err)
			}
		} else if accepted++; a.at.After(o.from) && a.at.Add(a.took).Before(o.to) {
			late++
		}
		if errors.Is(a.err, state.ErrUnknown) {
			unknown++
		}
		for i, n := range nodes {
			got := there[i][a.domain]
			if got != there[0][a.domain] {
				t.Errorf("%s is on %s only", a.domain, nodes[0].Name())
			}
			if !errors.Is(a.err, state.ErrUnknown) && got != (a.err == nil) {
				t.Errorf("%s on %s: %t, but the answer was %v", a.domain, n.Name(), got, a.err)
			}
		}
	}
	if late > 0 {
		t.Errorf("%d changes were acknowledged while etcd was away", late)
	}
	t.Logf("%d reads and %d pages answered; %d changes made, %d refused, the slowest after %s, of %d of which the outcome was unknown",
		l.reads, l.pages, accepted, refusals, longest.Round(time.Millisecond), unknown)
	if accepted == 0 || refusals == 0 || l.reads == 0 || l.pages == 0 {
		t.Error("the clients did not get through, so that nothing was shown")
	}
}
