package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/api"
	"statiko/state"
	"statiko/test/cluster"
)

// bundleOf is a small site whose page says which it is, with bytes that no compression makes small.
func bundleOf(page string, noise int) []byte {
	random := make([]byte, noise)
	rand.NewChaCha8(sha256.Sum256([]byte(page))).Read(random)
	return cluster.Zip(map[string][]byte{"index.html": []byte(page), "noise.bin": random})
}

// upload sends a bundle, again if the node went away meanwhile; what is acknowledged is noted.
func upload(n *cluster.Node, name, typ string, archive []byte) error {
	c := n.PatientClient(30 * time.Second)
	defer c.Close()
	err := c.UploadApp(context.Background(), name, typ, bytes.NewReader(archive), nil)
	if errors.Is(err, state.ErrExists) {
		return nil // an earlier try came through
	}
	return err
}

// haveAll waits until every node has every bundle, archive and unpacked, and compares the archives byte for byte.
func haveAll(t testing.TB, nodes []*cluster.Node, want map[string][]byte) {
	t.Helper()
	for _, n := range nodes {
		client := n.API(t)
		cluster.Must(t, cluster.Poll(2*time.Minute, "all bundles on all nodes, as "+n.Name()+" sees it", func() error {
			apps, err := client.AppsOnNodes(context.Background())
			if err != nil {
				return err
			}
			found := 0
			for _, app := range apps {
				if _, ok := want[app.Name]; !ok {
					continue
				}
				found++
				if len(app.Nodes) != len(nodes) || len(app.Unpacked) != len(nodes) {
					return fmt.Errorf("%s is on %v, unpacked on %v", app.Name, app.Nodes, app.Unpacked)
				}
			}
			if found != len(want) {
				return fmt.Errorf("%d of %d bundles are in the state", found, len(want))
			}
			return nil
		}))
		for name, archive := range want {
			got, err := os.ReadFile(filepath.Join(n.Settings["repo.local.path"], name))
			if err != nil || !bytes.Equal(got, archive) {
				t.Errorf("%s has %d bytes of %s, want %d: %v", n.Name(), len(got), name, len(archive), err)
			}
		}
	}
}

// Bundles are uploaded through random nodes while one is killed and another loses its folder: whatever was acknowledged
// is on all nodes afterwards, byte for byte.
func TestBundles_AcknowledgedIsOnAllNodes(t *testing.T) {
	t.Parallel()
	count := 24
	if soak() {
		count = 100
	}
	c := startCluster(t, builtFast(t), 3)
	killed, wiped := c.Nodes[1], c.Nodes[2]
	archives := map[string][]byte{}
	types := map[string]string{}
	var names []string
	add := func(name, typ string, archive []byte) {
		names = append(names, name)
		archives[name], types[name] = archive, typ
	}
	for i := range count {
		name := fmt.Sprintf("app-%d", i)
		add(name, "zip", bundleOf(name, 100_000))
	}
	if dir := os.Getenv("STATIKO_TEST_APPS"); dir != "" {
		for file, typ := range map[string]string{"reveal.zip": "zip", "reveal.tar.gz": "tar.gz", "swagger-ui.tar.bz2": "tar.bz2"} {
			data, err := os.ReadFile(filepath.Join(dir, file))
			cluster.Must(t, err)
			add(strings.ReplaceAll(file, ".", "-"), typ, data)
		}
	}
	var mu sync.Mutex
	acknowledged := map[string][]byte{}
	var done atomic.Int64
	var uploads sync.WaitGroup
	next := make(chan string)
	for range 4 {
		uploads.Go(func() {
			for name := range next {
				// A caller tries other nodes until one takes it.
				err := cluster.Poll(2*time.Minute, "upload "+name, func() error {
					return upload(c.Nodes[rand.IntN(len(c.Nodes))], name, types[name], archives[name])
				})
				if err != nil {
					t.Error(err)
					continue
				}
				mu.Lock()
				acknowledged[name] = archives[name]
				mu.Unlock()
				done.Add(1)
			}
		})
	}
	faults := make(chan struct{})
	go func() {
		defer close(faults)
		await := func(n int64) {
			_ = cluster.Poll(2*time.Minute, "uploads", func() error {
				if done.Load() < n {
					return fmt.Errorf("%d are done", done.Load())
				}
				return nil
			})
		}
		await(int64(count / 4))
		killed.Kill()
		await(int64(count / 2))
		// All that the node had of bundles is gone, while it runs.
		for _, folder := range []string{wiped.Settings["repo.local.path"], filepath.Join(wiped.Settings["appRoot"], "apps")} {
			entries, err := os.ReadDir(folder)
			if err != nil {
				t.Error(err)
			}
			for _, e := range entries {
				if !strings.HasPrefix(e.Name(), ".") {
					_ = os.RemoveAll(filepath.Join(folder, e.Name())) // it may be being made again
				}
			}
		}
	}()
	for _, name := range names {
		next <- name
	}
	close(next)
	uploads.Wait()
	<-faults
	killed.Start(t)
	cluster.Must(t, killed.Healthy())
	haveAll(t, c.Nodes, acknowledged)
}

// visitEvery is how often the site of the test below is asked for, by one visitor of each node in turn.
const visitEvery = 2 * time.Millisecond

// A site is deployed to, and rolled back, under 500 requests a second: each answer is one version whole, none is an
// error, and every node serves the new version within moments. Deploys and rollbacks go on with the repository gone.
func TestBundles_DeployAndRollbackSwitchAtOnce(t *testing.T) {
	t.Parallel()
	c := startCluster(t, builtFast(t), 3)
	client := c.Nodes[0].API(t)
	ctx := context.Background()
	const domain = "switching.example.org"
	addSite(t, client, domain)
	versions := map[string]bool{}
	want := map[string][]byte{}
	for i := range 4 {
		name := fmt.Sprintf("v%d", i)
		archive := bundleOf(name, 50_000)
		cluster.Must(t, upload(c.Nodes[i%3], name, "zip", archive))
		versions[name], want[name] = true, archive
	}
	haveAll(t, c.Nodes, want)
	cluster.Must(t, client.Deploy(ctx, domain, "v0", api.Wait(time.Minute)))
	c.Serves(t, 30*time.Second, domain)
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(30*time.Second, "the first version on "+n.Name(), func() error { return servesPage(n, domain, "v0") }))
	}

	stop := make(chan struct{})
	var visits sync.WaitGroup
	var answered atomic.Int64
	for _, n := range c.Nodes {
		v := cluster.Visit(t, n)
		visits.Go(func() {
			tick := time.NewTicker(visitEvery * 3)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				p, err := v.Get("https://" + domain + "/")
				if err != nil || p.Status != 200 || !versions[string(p.Body)] {
					t.Errorf("%s answered %+v, %v", n.Name(), p, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	// The repositories go away: all that is needed is unpacked.
	for _, n := range c.Nodes {
		cluster.Must(t, os.Rename(n.Settings["repo.local.path"], n.Settings["repo.local.path"]+".away"))
	}
	current := "v0"
	rounds := 10
	took := []time.Duration{}
	to := func(i int, do func(*api.Client) error, next string) {
		t.Helper()
		began := time.Now()
		cluster.Must(t, do(c.Nodes[i%3].API(t)))
		for _, n := range c.Nodes {
			cluster.Must(t, cluster.Poll(30*time.Second, next+" on "+n.Name(), func() error { return servesPage(n, domain, next) }))
		}
		took = append(took, time.Since(began))
		current = next
	}
	for i := 1; i < 4; i++ {
		next := fmt.Sprintf("v%d", i)
		to(i, func(c *api.Client) error { return c.Deploy(ctx, domain, next) }, next)
	}
	for i := range rounds {
		to(i, func(c *api.Client) error { _, err := c.Rollback(ctx, domain, ""); return err }, []string{"v2", "v3"}[i%2])
	}
	to(0, func(c *api.Client) error { _, err := c.Rollback(ctx, domain, ""); return err }, "v2")
	to(1, func(c *api.Client) error { _, err := c.Rollback(ctx, domain, ""); return err }, "v3")
	to(2, func(c *api.Client) error { _, err := c.Rollback(ctx, domain, "v0"); return err }, "v0")
	close(stop)
	visits.Wait()
	t.Logf("%d answers, %s in force; from the call to the last of three nodes: %v", answered.Load(), current, took)

	history, err := client.SiteHistory(ctx, domain)
	cluster.Must(t, err)
	var names []string
	for _, v := range history {
		names = append(names, v.App)
	}
	if got := strings.Join(names, " "); got != "v0 v3 v2 v1" || !history[0].Current {
		t.Errorf("the history is %s: %+v", got, history)
	}
	if err := client.DeleteApp(ctx, "v1"); !errors.Is(err, state.ErrInUse) {
		t.Errorf("removing what the site can go back to: %v", err)
	}
	// One node loses its disk but for its configuration, and is rebuilt.
	rebuilt := c.Nodes[2]
	cluster.Must(t, rebuilt.Stop())
	cluster.Must(t, os.RemoveAll(rebuilt.Settings["appRoot"]))
	for _, n := range c.Nodes[:2] {
		cluster.Must(t, os.Rename(n.Settings["repo.local.path"]+".away", n.Settings["repo.local.path"]))
	}
	rebuilt.Start(t)
	cluster.Must(t, cluster.Poll(time.Minute, "the rebuilt node serves the site", func() error { return servesPage(rebuilt, domain, "v0") }))
	tags := map[string]bool{}
	for _, n := range c.Nodes {
		p := cluster.Visit(t, n).MustGet(t, 200, "https://"+domain+"/noise.bin")
		tags[p.Header.Get("ETag")+p.Header.Get("Last-Modified")] = true
	}
	if len(tags) != 1 {
		t.Errorf("the nodes' ETags and times differ: %v", tags)
	}
}

// servesPage asks a node for a site's page.
func servesPage(n *cluster.Node, domain, want string) error {
	v := cluster.NewVisitor(n)
	defer v.Close()
	p, err := v.Get("https://" + domain + "/")
	if err != nil {
		return err
	}
	if p.Status != 200 || string(p.Body) != want {
		return fmt.Errorf("%d %.40q", p.Status, p.Body)
	}
	return nil
}

// A bundle that is read from a node is what was uploaded, wherever it is asked for.
func TestBundles_Download(t *testing.T) {
	t.Parallel()
	n := cluster.NewNode(t, built(t))
	n.Start(t)
	archive := bundleOf("x", 1000)
	cluster.Must(t, upload(n, "app", "zip", archive))
	r, size, err := n.API(t).DownloadApp(context.Background(), "app")
	cluster.Must(t, err)
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || size != int64(len(archive)) || !bytes.Equal(got, archive) {
		t.Errorf("%d bytes of %d, %v; the answer says %d", len(got), len(archive), err, size)
	}
	apps, err := n.API(t).AppsOnNodes(context.Background())
	cluster.Must(t, err)
	sum := sha256.Sum256(archive)
	if len(apps) != 1 || apps[0].SHA256 != hex.EncodeToString(sum[:]) || len(apps[0].Nodes) != 1 {
		t.Errorf("%+v", apps)
	}
}
