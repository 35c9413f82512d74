package nginx

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"statiko/bundle"
	"statiko/webserver"
)

// manySites makes sites of which some percent have a manifest of their own. They share a certificate, as making many
// takes long; names differ, which is what counts for nginx.
func manySites(t testing.TB, n, percent int) []webserver.Change {
	t.Helper()
	shared := stage(t, newSite(t, "x.test"), map[string]string{"index.html": "a page"})
	changes := make([]webserver.Change, n)
	for i := range changes {
		site := *shared
		site.Domain = fmt.Sprintf("s%05d.many.test", i)
		if i%100 < percent {
			m, err := bundle.ParseManifest("m", fmt.Appendf(nil, `
page404: 404.html
rules:
  - prefix: /
    options: {headers: {X-Frame-Options: DENY, X-Site: "%d"}}
  - file: _images
    options: {clientCaching: 4w}
  - exact: /internal.json
    options: {deny: true}
`, i))
			if err != nil {
				t.Fatal(err)
			}
			site.Manifest = m
		}
		changes[i] = webserver.Change{Domain: site.Domain, Site: &site}
	}
	return changes
}

// TestScale measures; it is no part of any suite. STATIKO_SCALE has the number of sites and the percentages.
func TestScale(t *testing.T) {
	spec := strings.Fields(os.Getenv("STATIKO_SCALE"))
	if len(spec) == 0 {
		t.Skip("measures only, if STATIKO_SCALE says what: \"10000 0 10 100\"")
	}
	n, err := strconv.Atoi(spec[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range spec[1:] {
		percent, err := strconv.Atoi(p)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(p, func(t *testing.T) {
			s := start(t, Options{})
			changes := manySites(t, n, percent)
			began := time.Now()
			failed, err := s.Apply(context.Background(), changes)
			if err != nil || len(failed) > 0 {
				t.Fatal(err, len(failed))
			}
			t.Logf("%d sites, %d %% manifests: first configuration %v", n, percent, time.Since(began).Round(time.Millisecond))
			t.Logf("memory %d MB", pss(s)>>20)
			began = time.Now()
			if err := s.eng.try(t.Context(), s.inForce); err != nil {
				t.Fatal(err)
			}
			t.Logf("nginx -t: %v", time.Since(began).Round(time.Millisecond))
			for i := range 3 {
				one := manySites(t, 1, 0)
				one[0].Domain = fmt.Sprintf("one%d.test", i)
				one[0].Site.Domain = one[0].Domain
				most := make(chan int)
				stop := make(chan struct{})
				go func() {
					m := 0
					for {
						m = max(m, pss(s))
						select {
						case <-stop:
							most <- m
							return
						case <-time.After(100 * time.Millisecond):
						}
					}
				}()
				began = time.Now()
				failed, err := s.Apply(context.Background(), one)
				took := time.Since(began)
				close(stop)
				if err != nil || len(failed) > 0 {
					t.Fatal(err, failed)
				}
				t.Logf("one more: %v, memory at most %d MB", took.Round(time.Millisecond), <-most>>20)
			}
		})
	}
}

// pss is the memory of nginx's processes, of what they share each its part, in bytes.
func pss(s *Server) int {
	sum := 0
	for _, p := range processes() {
		if p.folder != filepath.Clean(s.paths.dir) {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.id))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), "\nPss:")
		kb, _ := strconv.Atoi(strings.Fields(rest)[0])
		sum += kb << 10
	}
	return sum
}
