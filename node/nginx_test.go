package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"statiko/webserver/nginx"
)

// startNginx runs a node whose sites are served by an nginx of its own. It skips the test where there is none, but in CI.
func startNginx(t testing.TB, dir string, changes ...string) *running {
	t.Helper()
	if _, err := nginx.Find(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// Folders of tests are closed to others.
	n := start(t, dir, append(changes, "webserver: builtin=>webserver: nginx\nnginx: {mode: managed, user: root}")...)
	t.Cleanup(func() {
		for _, e := range n.logs.All() {
			t.Logf("%v %s %s %v", e.Time.Format("05.000"), e.LoggerName, e.Message, e.ContextMap())
		}
	})
	return n
}

// shortDir is a folder with a short name: a socket's path has a bound.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ngx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Weaknesses W32 and W41 on nginx: a bad deploy keeps the last good version, also across a restart, and is a 503.
func TestW32_W41_BadDeployOnNginx(t *testing.T) {
	t.Parallel()
	n := startNginx(t, shortDir(t))
	n.addSite("live.test")
	n.addSite("other.test")
	n.upload("good", map[string]string{"index.html": "good", "_statiko.yaml": "rules: [{prefix: /, options: {headers: {X-A: b}}}]"})
	n.upload("large", map[string]string{"index.html": "large",
		"_statiko.yaml": "rules: [{match: \"^/(?:[a-m][n-z]x){999}(?:[a-m][n-z]y){999}\", options: {deny: true}}]"})
	n.deploy("live.test", "good")
	n.want("live.test", "/", "good")
	for _, app := range []string{"missing", "large"} {
		d := n.document()
		d.site("live.test")["app"] = map[string]any{"name": app}
		n.ok(n.setState(d.text(t)))
		n.settled()
		n.want("live.test", "/", "good")
		if h := n.health("live.test"); !strings.HasPrefix(h, "503 healthy=false app="+app+" serving=good ") {
			t.Errorf("health with the bundle %s: %s", app, h)
		}
		if h := n.health("other.test"); !strings.HasPrefix(h, "200 healthy=true") {
			t.Errorf("health of another site: %s", h)
		}
	}
	n.stop()
	n = startNginx(t, n.dir)
	n.settled()
	n.deploy("live.test", "good")
	n.want("live.test", "/", "good")
}

// Weaknesses W33 and W34 on nginx: deploys cause no 404, do not mix versions, and are seen at once.
func TestW33_W34_DeploysOnNginx(t *testing.T) {
	t.Parallel()
	n := startNginx(t, shortDir(t))
	n.addSite("busy.test")
	const versions = 15
	body := func(v int) string { return strings.Repeat(fmt.Sprintf("version %d\n", v), 20+v) }
	for v := range versions {
		files := map[string]string{"index.html": body(v), "other.txt": body(v)}
		if v%5 == 4 { // with a reload
			files["_statiko.yaml"] = fmt.Sprintf("rules: [{prefix: /, options: {headers: {X-V: \"%d\"}}}]", v)
		}
		n.upload(fmt.Sprintf("v%d", v), files)
	}
	n.deploy("busy.test", "v0")
	var visitors sync.WaitGroup
	var requests atomic.Int64
	stop := make(chan struct{})
	for _, path := range []string{"/", "/other.txt", "/", "/other.txt"} {
		visitors.Go(func() {
			last := 0
			pace := time.NewTicker(8 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				p, err := fetch(n.h2, "busy.test", path)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				line, _, _ := strings.Cut(p.body, "\n")
				v, err := strconv.Atoi(strings.TrimPrefix(line, "version "))
				if p.status != 200 || err != nil || p.body != body(v) || v < last {
					t.Errorf("%s: %d %.60q after version %d", path, p.status, p.body, last)
					return
				}
				last = v
				requests.Add(1)
			}
		})
	}
	for v := 1; v < versions; v++ {
		n.deploy("busy.test", fmt.Sprintf("v%d", v))
		n.want("busy.test", "/other.txt", body(v))
	}
	close(stop)
	visitors.Wait()
	t.Logf("%d requests", requests.Load())
}

// nginx killed, and its folder spoilt: the status says so, and both heal without anybody's help.
func TestNginx_FaultsAreInTheStatus(t *testing.T) {
	t.Parallel()
	n := startNginx(t, shortDir(t))
	n.addSite("a.test")
	n.upload("plain", map[string]string{"index.html": "plain"})
	n.deploy("a.test", "plain")
	pid := func() int {
		folders, err := filepath.Glob("/proc/[0-9]*")
		n.ok(err)
		for _, folder := range folders {
			works, _ := os.Readlink(filepath.Join(folder, "cwd"))
			title, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
			if works == filepath.Join(n.dir, "data/nginx") && strings.Contains(string(title), "master process") {
				id, err := strconv.Atoi(filepath.Base(folder))
				n.ok(err)
				return id
			}
		}
		t.Fatal("no nginx runs in the node's folder")
		return 0
	}
	conf := filepath.Join(n.dir, "data/nginx/nginx.conf")
	// It ends, and what it is to start with was spoilt.
	since, err := n.client.Status(n.ctx(), "", false)
	n.ok(err)
	if !since.Nginx.Running {
		t.Errorf("status %+v", since.Nginx)
	}
	n.ok(os.WriteFile(conf, []byte("nonsense;"), 0o600))
	n.ok(syscall.Kill(-pid(), syscall.SIGKILL))
	n.eventually(func() error {
		if n.logs.FilterMessage("nginx does not run").Len() == 0 {
			return errors.New("nobody noticed")
		}
		return n.serves("a.test", "plain")
	})

	store := filepath.Join(n.dir, "data/nginx/store")
	n.ok(errors.Join(os.Rename(store, store+".away"), os.WriteFile(store, nil, 0o600)))
	n.upload("ruled", map[string]string{"index.html": "ruled", "_statiko.yaml": "rules: [{prefix: /, options: {headers: {X-A: b}}}]"})
	n.ok(n.client.Deploy(n.ctx(), "a.test", "ruled"))
	n.eventually(func() error {
		s, err := n.client.Status(n.ctx(), "", false)
		if err == nil && !strings.Contains(s.Sync.SyncError, "store is not a folder") {
			err = fmt.Errorf("status %+v", s.Sync)
		}
		return err
	})
	n.ok(errors.Join(os.Remove(store), os.Rename(store+".away", store)))
	n.eventually(func() error { return n.serves("a.test", "ruled") })
}
