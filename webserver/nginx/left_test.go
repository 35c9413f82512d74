package nginx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"statiko/webserver"
)

// succession is processes of a node, one after the other, with the same folder, addresses and certificate.
type succession struct {
	t           testing.TB
	dir         string
	http, https string
	certificate tls.Certificate
	stop        func()
}

func newSuccession(t testing.TB) *succession {
	t.Helper()
	pair := newRSAPair(t, "node.test")
	certificate, err := tls.X509KeyPair(pair.CertificatePEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &succession{t: t, dir: folder(t), http: freeAddress(t), https: freeAddress(t), certificate: certificate, stop: func() {}}
}

// next ends the process of before and starts another one.
func (p *succession) next(opt Options) *Server {
	p.t.Helper()
	p.stop()
	opt.Dir, opt.NodeCertificate = p.dir, func() *tls.Certificate { return &p.certificate }
	opt.HTTP, opt.HTTPS = []net.Listener{listen(p.t, p.http)}, []net.Listener{listen(p.t, p.https)}
	s, stop := launchUntil(p.t, complete(p.t, opt))
	p.stop = stop
	return s
}

// untold is an option of a process that is not told that it knows all sites, and starts nginx soon all the same.
func untold() Options {
	return Options{Complete: make(chan struct{}), Timeouts: Timeouts{Begin: 50 * time.Millisecond, Watch: 20 * time.Millisecond}}
}

func told() Options {
	c := make(chan struct{})
	close(c)
	return Options{Complete: c, Timeouts: Timeouts{Watch: 20 * time.Millisecond}}
}

// many are sites with a class of their own each, so that a configuration has all its kinds of files.
func many(t testing.TB) []*webserver.Site {
	sites := []*webserver.Site{page(t, "a.test", "I am a"), page(t, "b.test", "I am b")}
	for _, name := range []string{"c.test", "d.test"} {
		sites = append(sites, stage(t, newSite(t, name), map[string]string{
			"index.html": "I am " + name[:1], "_statiko.yaml": "rules:\n  - exact: /" + name + "\n    options:\n      deny: true\n",
		}))
	}
	return sites
}

// What was served before the start is no more once it is known that there are no sites.
func TestLeft_NoSitesAnyMore(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	apply(t, p.next(Options{}), many(t)...)
	s := p.next(told())
	awaitServing(t, s)
	if status, _, err := get(s, "a.test", "/"); err != nil || status != 404 {
		t.Errorf("a site that was removed while the node was down: %d %v", status, err)
	}
	// And of a node that hears of it late.
	apply(t, s, many(t)...)
	late := make(chan struct{})
	opt := untold()
	opt.Complete = late
	s = p.next(opt)
	awaitServing(t, s)
	wantBody(t, s, "a.test", "/", "I am a")
	close(late)
	awaitGone(t, s, "a.test")
}

// awaitGone waits until nginx knows no such site.
func awaitGone(t testing.TB, s *Server, domain string) {
	t.Helper()
	eventually(t, func() error {
		if status, _, err := get(s, domain, "/"); err != nil || status != 404 {
			return errors.Join(fmt.Errorf("https://%s answers %d", domain, status), err)
		}
		return nil
	})
}

// A crash of the machine, or somebody, may leave anything.
func TestLeft_DamageIsFoundAndWrittenAnew(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(p paths) error{
		"the configuration is cut off": func(p paths) error { return os.Truncate(p.conf, 500) },
		"the configuration is cut off in the middle": func(p paths) error {
			info, err := os.Stat(p.conf)
			return errors.Join(err, os.Truncate(p.conf, info.Size()-100))
		},
		"files have zeros in the place of what was in them": func(p paths) error {
			for _, dir := range []string{p.store, p.pairs} {
				all, err := filepath.Glob(filepath.Join(dir, "*"))
				if err != nil || len(all) == 0 {
					return fmt.Errorf("files in %s: %v %w", dir, all, err)
				}
				for _, path := range all {
					info, err := os.Stat(path)
					if err == nil {
						err = os.WriteFile(path, make([]byte, info.Size()), 0o640)
					}
					if err != nil {
						return err
					}
				}
			}
			return nil
		},
		"the pair for checks is another": func(p paths) error { return os.WriteFile(p.check, []byte("-"), 0o640) },
		"files are gone":                 func(p paths) error { return os.RemoveAll(p.store) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for _, opt := range []func() Options{told, untold} {
				p := newSuccession(t)
				sites := many(t)
				s := p.next(Options{})
				apply(t, s, sites...)
				p.stop()
				if err := damage(s.paths); err != nil {
					t.Fatal(err)
				}
				s = p.next(opt())
				awaitServing(t, s) // with no sites, or as before: never not at all
				apply(t, s, sites...)
				for _, site := range sites {
					wantBody(t, s, site.Domain, "/", "I am "+site.Domain[:1])
				}
			}
		})
	}
}

// A configuration for other addresses is none to start with.
func TestLeft_OtherAddresses(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	sites := many(t)
	apply(t, p.next(Options{}), sites...)
	p.https = freeAddress(t)
	s := p.next(untold())
	awaitServing(t, s)
	if status, _, err := get(s, "a.test", "/"); err != nil || status != 404 {
		t.Errorf("before any site is known: %d %v", status, err)
	}
	apply(t, s, sites...)
	wantBody(t, s, "a.test", "/", "I am a")
}

// What nginx cannot be asked about in time is not given up.
func TestLeft_ATestThatDoesNotEndIsNoRefusal(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	apply(t, p.next(Options{}), many(t)...)
	opt := untold()
	opt.Timeouts.Command = time.Nanosecond
	s := p.next(opt)
	awaitServing(t, s)
	filesOf(t, s) // removes what is not needed, which is nothing yet
	wantBody(t, s, "a.test", "/", "I am a")
}

// A node that is stopped before it was told of any site leaves all as it was.
func TestLeft_StoppedAsItBegins(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	s := p.next(Options{})
	apply(t, s, many(t)...)
	p.stop()
	before, err := os.ReadFile(s.paths.conf)
	if err != nil {
		t.Fatal(err)
	}
	s = p.next(Options{Complete: make(chan struct{}), Timeouts: Timeouts{Begin: time.Hour}})
	<-s.prepared
	stopped, stop := context.WithCancel(t.Context())
	stop()
	s.applying.Lock()
	err = s.resume(stopped, s.eng.(*managed))
	s.applying.Unlock()
	if err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(s.paths.conf); err != nil || string(after) != string(before) {
		t.Errorf("the configuration had %d bytes, and has %d: %v", len(before), len(after), err)
	}
}

func TestLeft_SomebodyDamagesItWhileItIsInUse(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	apply(t, p.next(Options{}), many(t)...)
	s := p.next(untold())
	awaitServing(t, s)
	if err := os.Truncate(s.paths.conf, 0); err != nil {
		t.Fatal(err)
	}
	restarted(t, s, func() { EndLeftover(s.paths.dir) })
	wantBody(t, s, "a.test", "/", "I am a")
}

// A node that has sites of which none can be applied, as when it lacks the key to their certificates, is not empty.
func TestLeft_SitesThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	apply(t, p.next(Options{}), many(t)...)
	var empty atomic.Bool
	opt := told()
	opt.Empty = empty.Load
	s := p.next(opt)
	awaitServing(t, s)
	s.refresh(t.Context(), time.Now().Add(-time.Hour))
	wantBody(t, s, "a.test", "/", "I am a")
	empty.Store(true)
	awaitGone(t, s, "a.test")
}

// However often sites change, and whoever was here before, there are no more files than the sites of now need.
func TestLeft_FilesThatNothingNeedsAreRemoved(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	sites := many(t)
	s := p.next(Options{})
	apply(t, s, sites...)
	want := filesOf(t, s)
	if failed, err := tryApply(t, s, withManifest(page(t, "bad.test", "bad"), tooLarge(t))); err != nil || len(failed) != 1 {
		t.Errorf("a site that nginx refuses: %v %v", failed, err)
	}
	for i := range 5 {
		more := page(t, fmt.Sprintf("more%d.test", i), "more")
		apply(t, s, more)
		if _, err := s.Apply(t.Context(), []webserver.Change{{Domain: more.Domain}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := filesOf(t, s); !slices.Equal(got, want) {
		t.Errorf("files after sites came and went:\n%s\nbefore:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	apply(t, s, page(t, "more.test", "more"))
	s = p.next(Options{})
	apply(t, s, sites...)
	if got := filesOf(t, s); !slices.Equal(got, want) {
		t.Errorf("files of the next process:\n%s\nof the first one:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	wantBody(t, s, "d.test", "/", "I am d")
}

// filesOf returns the files of a server once what was discarded is old enough to be removed.
func filesOf(t testing.TB, s *Server) []string {
	t.Helper()
	s.applying.Lock()
	defer s.applying.Unlock()
	s.sweep(time.Now().Add(2 * keepTrash))
	var found []string
	for _, pattern := range []string{"store/*", "pairs/*", "roots/*", "roots/*/*", "dh-*"} {
		all, err := filepath.Glob(filepath.Join(s.paths.dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, all...)
	}
	return found
}
