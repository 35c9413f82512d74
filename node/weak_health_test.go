package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"statiko/api"
)

// W65: the earlier program asked for sites with the server name localhost, followed redirects to other hosts, leaked
// descriptors with each failure, and never looked at sites without an app.
func TestW65_SitesAreVisitedAsVisitorsSeeThem(t *testing.T) {
	var visits, elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits.Add(1)
		http.Redirect(w, r, other.URL+"/", http.StatusFound)
	}))
	defer backend.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := gone.Addr().String()
	if err := gone.Close(); err != nil { // nobody answers there
		t.Fatal(err)
	}

	n := start(t, t.TempDir(), fmt.Sprintf("webserver: builtin=>webserver: builtin\nmanifest: {allowProxy: ['%s', '%s']}",
		strings.TrimPrefix(backend.URL, "http://"), away))
	proxied := func(to string) map[string]string {
		return map[string]string{"index.html": "x", "_statiko.yaml": "rules:\n  - exact: /\n    options:\n      proxy: '" + to + "'\n"}
	}
	n.upload("page-1", map[string]string{"index.html": "welcome"})
	n.upload("leaves-1", proxied(backend.URL))
	n.upload("away-1", proxied("http://"+away))
	n.upload("bare-1", map[string]string{"about.html": "no start page"})
	n.addSite("soon.example.org") // without an app
	for _, name := range []string{"page", "leaves", "away", "bare"} {
		n.addSite(name+".example.org", "www."+name+".example.org")
		n.ok(n.client.Deploy(n.ctx(), name+".example.org", name+"-1"))
	}
	s := n.settled()
	is := map[string]api.SiteHealth{}
	for _, h := range s.Health {
		if h.Time == nil {
			t.Errorf("%s: nobody looked", h.Domain)
		}
		is[strings.TrimSuffix(h.Domain, ".example.org")] = h
	}
	for name, fault := range map[string]string{
		"soon": "", "page": "", "leaves": "", "away": "its start page answers with status 502",
		"bare": "its start page answers with status 403",
	} {
		if h := is[name]; h.Healthy != (fault == "") || h.Error != fault {
			t.Errorf("%s: %+v, want %q", name, h, fault)
		}
	}
	if visits.Load() == 0 || elsewhere.Load() != 0 {
		t.Errorf("%d visits through the site, %d of the host that it redirects to", visits.Load(), elsewhere.Load())
	}
	if got := n.health("www.away.example.org"); !strings.HasPrefix(got, "503 healthy=false") {
		t.Errorf("the status of a site that does not answer is %s", got)
	}

	// Once more and again: what fails costs no descriptors.
	before := 0
	for i := range 12 {
		if _, err := n.client.Status(n.ctx(), "", true); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			before = descriptors(t)
		}
	}
	n.eventually(func() error {
		if now := descriptors(t); now > before+5 {
			return fmt.Errorf("%d descriptors, then %d", before, now)
		}
		return nil
	})

	// What answers again is well again.
	back, err := net.Listen("tcp", away)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	backAgain := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "back") })}
	served := make(chan error, 1)
	go func() { served <- backAgain.Serve(back) }()
	defer func() {
		_ = backAgain.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	if _, err := n.client.Status(n.ctx(), "", true); err != nil {
		t.Fatal(err)
	}
	if got := n.health("away.example.org"); !strings.HasPrefix(got, "200 healthy=true") {
		t.Errorf("after its backend came back: %s", got)
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	return len(list)
}

// A node that serves no sites visits none: they are as they were applied.
func TestNode_WithoutWebServerVisitsNothing(t *testing.T) {
	n := start(t, t.TempDir(), "webserver: builtin=>webserver: none")
	n.addSite("a.example.org")
	if s := n.settled(); len(s.Health) != 1 || !s.Health[0].Healthy {
		t.Errorf("%+v", s.Health)
	}
}
