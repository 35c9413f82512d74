package nginx

import (
	"os"
	"testing"

	"statiko/webserver"
)

// Of many sites one has a manifest that nginx refuses, one a bundle that vanished, one a key that does not belong to its
// certificate: all others are applied in one call, and the three are named with reasons; also by another server, as
// after a restart. W57: each site cost a test of the whole configuration.
func TestW57_ManySitesOfWhichThreeAreFaulty(t *testing.T) {
	t.Parallel()
	n := 60
	if os.Getenv("STATIKO_SOAK") != "" {
		n = 1000
	}
	changes := manySites(t, n, 10)
	set := func(i int, f func(*webserver.Site)) string {
		site := *changes[i].Site
		f(&site)
		changes[i].Site = &site
		return site.Domain
	}
	large := set(n/4, func(s *webserver.Site) { s.Manifest = tooLarge(t) })
	gone := set(n/2, func(s *webserver.Site) { s.Root += "/vanished" })
	mixed := set(3*n/4, func(s *webserver.Site) { s.Certificate.KeyPEM = newSite(t, "other.test").Certificate.KeyPEM })
	program, count := counting(t)
	for _, when := range []string{"first", "after a restart"} {
		t.Run(when, func(t *testing.T) {
			s := start(t, Options{Program: program})
			before := count()
			failed, err := s.Apply(t.Context(), changes)
			if err != nil {
				t.Fatal(err)
			}
			if len(failed) != 3 {
				t.Fatalf("failed: %v", failed)
			}
			for domain, part := range map[string]string{large: "nginx refuses", gone: "bundle", mixed: "private key does not match"} {
				if err := failed[domain]; err == nil || !contains(err, part) {
					t.Errorf("%s: %v, want %q", domain, err, part)
				}
			}
			if tests := count() - before; tests != 2 {
				t.Errorf("nginx -t ran %d times, want once and once more without the one that it refuses", tests)
			}
			for _, c := range changes {
				status, _, err := get(s, c.Domain, "/")
				if served := err == nil && status == 200; served != (failed[c.Domain] == nil) {
					t.Fatalf("%s: %d %v", c.Domain, status, err)
				}
			}
		})
	}
}
