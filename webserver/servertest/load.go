package servertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/dhparams"
	"statiko/webserver"
)

// visitor asks one site again and again, over HTTP/1.1 or HTTP/2.
type visitor struct {
	client *http.Client
	// retry tells that a request that got no answer is sent once more, on a fresh connection.
	retry bool
}

func newVisitor(t testing.TB, address string, h2, retry bool) *visitor {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2, DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{client: &http.Client{Transport: transport, Timeout: 20 * time.Second}, retry: retry}
}

// errAnswer is an answer other than the page, which asking again does not excuse.
var errAnswer = errors.New("another answer")

func (v *visitor) ask(host string) (retried bool, err error) {
	once := func() error {
		res, err := v.client.Get("https://" + host + "/")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%w: %s: %s %.100q", errAnswer, host, res.Status, body)
		}
		return err
	}
	if err = once(); err == nil || !v.retry || errors.Is(err, errAnswer) {
		return false, err
	}
	v.client.CloseIdleConnections()
	return true, once()
}

// testLoad asks 500 times a second while sites are added, changed and removed, bundles deployed, certificates renewed and
// DH parameters replaced. No request fails; of servers that reload, none over HTTP/1.1 after one retry on a fresh
// connection. The long form takes a minute and 100 sites.
func testLoad(t *testing.T, w *world) {
	span, sites := 4*time.Second, 20
	if w.Long {
		span, sites = time.Minute, 100
	}
	page := func(domain, text string) *webserver.Site {
		return deploy(t, newSite(t, domain), map[string]string{"index.html": text})
	}
	manifest := func(n int) string { return fmt.Sprintf("rules: [{prefix: /, options: {headers: {X-N: \"%d\"}}}]", n) }
	busy := newSite(t, "busy.test")
	versions := []*webserver.Site{deploy(t, busy, map[string]string{"index.html": "one"}), deploy(t, busy, map[string]string{"index.html": "two"})}
	w.apply(t, versions[0], deploy(t, newSite(t, "ruled.test"), map[string]string{"index.html": "ruled", "_statiko.yaml": manifest(0)}))

	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	var visitors sync.WaitGroup
	var requests, retries atomic.Int64
	for i := range 8 {
		h2 := i%2 == 0
		v := newVisitor(t, w.HTTPS, h2, w.Reloads && !h2)
		host := []string{"busy.test", "ruled.test"}[i/2%2]
		visitors.Go(func() {
			pace := time.NewTicker(16 * time.Millisecond) // 62 a second each, 500 in all
			defer pace.Stop()
			for ctx.Err() == nil {
				retried, err := v.ask(host)
				requests.Add(1)
				if retried {
					retries.Add(1)
				}
				if err != nil {
					t.Errorf("HTTP/2 %v: %v", h2, err)
					return
				}
				<-pace.C
			}
		})
	}
	setter, _ := w.Server.(webserver.DHParamsSetter)
	changes := 0
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for ; ctx.Err() == nil; changes++ {
		extra := fmt.Sprintf("extra%d.test", changes%sites)
		switch changes % 6 {
		case 0:
			w.apply(t, page(extra, "extra"))
		case 1:
			w.apply(t, deploy(t, newSite(t, extra), map[string]string{"index.html": "extra", "_statiko.yaml": manifest(changes)}))
		case 2:
			w.applyChanges(t, webserver.Change{Domain: fmt.Sprintf("extra%d.test", (changes+sites/2)%sites)})
		case 3:
			w.apply(t, versions[changes/6%2]) // a deploy
		case 4:
			renewed := newSite(t, "busy.test").Certificate
			for i, v := range versions {
				next := *v
				next.Certificate = renewed
				versions[i] = &next
			}
			w.apply(t, versions[changes/6%2])
		case 5:
			if setter == nil {
				break
			}
			if err := setter.SetDHParams(t.Context(), dhparams.Builtin([]int{2048, 3072}[changes/6%2]).PEM()); err != nil {
				t.Fatal(err)
			}
		}
		<-pause.C
	}
	visitors.Wait()
	t.Logf("%d changes, %d requests, %d of them were sent twice", changes, requests.Load(), retries.Load())
}
