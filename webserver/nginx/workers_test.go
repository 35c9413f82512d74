package nginx

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A download that goes on keeps its worker of the old configuration, which counts as hanging only long after the time
// that such workers have; and the download is not disturbed.
func TestWorkers_ThatHangAreFound(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	large := strings.Repeat("0123456789abcdef", 1<<19) // 8 MB: more than sockets hold
	apply(t, s, stage(t, newSite(t, "a.test"), map[string]string{"large.txt": large}))
	c, err := tls.Dial("tcp", s.eng.address(), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "GET /large.txt HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1000)
	if _, err := c.Read(first); err != nil || !strings.HasPrefix(string(first), "HTTP/1.1 200") {
		t.Fatalf("%.100q %v", first, err)
	}
	apply(t, s, page(t, "b.test", "I am b"))
	m := s.eng.(*managed)
	seen := map[int]time.Time{}
	now := time.Now()
	if got := m.hanging(now, seen); len(got) != 0 || len(seen) != 1 {
		t.Errorf("at first: %v hang, %v are leaving", got, seen)
	}
	if got := m.hanging(now.Add(s.opt.Timeouts.Worker), seen); len(got) != 0 {
		t.Errorf("at the end of its time: %v", got)
	}
	if got := m.hanging(now.Add(s.opt.Timeouts.Worker+2*time.Minute), seen); len(got) != 1 || seen[got[0]].IsZero() {
		t.Errorf("long after: %v", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if m.hanging(now, seen); len(seen) != 0 {
			return fmt.Errorf("%v are leaving, after the download ended", seen)
		}
		return nil
	})
}

// Files that only old configurations need stay for some time, and go then.
func TestSweep_RemovesWhatNothingNeeds(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	site := page(t, "a.test", "one")
	apply(t, s, site)
	old := s.pairFile(digestPair(site.Certificate))
	renewed := *site
	renewed.Certificate = newSite(t, "a.test").Certificate
	apply(t, s, &renewed)
	exists := func(path string) bool { return fileExists(path) }
	s.applying.Lock()
	defer s.applying.Unlock()
	s.sweep(time.Now())
	if !exists(old) {
		t.Error("the old pair went at once, while old workers may need it")
	}
	s.sweep(time.Now().Add(keepTrash + time.Second))
	if exists(old) {
		t.Error("the old pair is still there")
	}
	if !exists(s.pairFile(digestPair(renewed.Certificate))) || !exists(s.pairFile(s.fixed.CheckPair)) {
		t.Error("a pair in use is gone")
	}
}
