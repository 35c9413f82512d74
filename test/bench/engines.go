package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// enginesPart measures both web servers with the same sites.
const enginesPart = "i"

// engineNames are the values of the key webserver.
var engineNames = [...]string{"builtin", "nginx"}

// ruledShare is which part of the sites has a manifest, each one of its own: one in ten.
const ruledShare = 10

// engineRun is what was measured of one web server with a number of sites.
type engineRun struct {
	engine string
	sites  int
	// first is from the start of the process until the last site answers, more from adding a site until it does.
	first time.Duration
	more  []time.Duration
	// before and most are the memory of all processes before sites were added, and at most meanwhile, in bytes.
	before, most int64
	// handshakes and requests are those a second.
	handshakes, requests float64
}

// measureEngines runs a node with each web server for each number of sites.
func measureEngines(ctx context.Context, b *bench) error {
	load := findLoad()
	for _, engine := range engineNames {
		if engine == "nginx" && !haveNginx() {
			b.add(row{Part: enginesPart, What: "not measured", Against: missingError{"nginx", "nginx"}.Error()})
			continue
		}
		var runs []*engineRun
		for _, count := range b.size.engines {
			r := &engineRun{engine: engine, sites: count}
			if err := b.measureEngine(ctx, r, load); err != nil {
				return fmt.Errorf("%s with %d sites: %w", engine, count, err)
			}
			say("  %s, %d sites: first configuration %v, one more %v, memory %d MB, at most %d MB, %.0f handshakes/s, %.0f requests/s",
				engine, count, r.first, r.more, r.before>>20, r.most>>20, r.handshakes, r.requests)
			runs = append(runs, r)
		}
		b.add(engineRows(b.size.engines, runs, load.name)...)
	}
	return nil
}

func haveNginx() bool {
	_, err := exec.LookPath("nginx")
	return err == nil || exec.Command("/usr/sbin/nginx", "-v").Run() == nil
}

// measureEngine measures one of them.
func (b *bench) measureEngine(ctx context.Context, r *engineRun, load load) (err error) {
	// The folders of a run are closed to others, so workers run as whoever runs this.
	n, err := b.newNode(fmt.Sprintf("%s-%d", r.engine, r.sites), "webserver="+r.engine, "nginx.user=root")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(joinStop(err, n), os.RemoveAll(n.Dir)) }()
	if err := n.start(ctx); err != nil {
		return err
	}
	p := n.prober()
	say("  %s, %d sites: restore", r.engine, r.sites)
	sites, err := n.restoreRuled(ctx, r.sites)
	if err != nil {
		return err
	}
	if err := p.until(ctx, sites[len(sites)-1], 100*time.Millisecond); err != nil {
		return err
	}
	if err := n.stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := n.start(ctx); err != nil {
		return err
	}
	if err := p.until(ctx, sites[len(sites)-1], 20*time.Millisecond); err != nil {
		return err
	}
	r.first = time.Since(began)
	if err := rest(ctx, b.size.settle); err != nil {
		return err
	}
	if err := b.addToEngine(ctx, n, p, r); err != nil {
		return err
	}
	if r.handshakes, err = handshakes(ctx, n.Address(n.HTTPSPort), sites, b.size.round); err != nil {
		return err
	}
	if _, err := n.client.CreateSite(ctx, api.SiteCreate{Domain: servedHost, App: &api.SiteApp{Name: "page"}}, api.Wait(applyWait)); err != nil {
		return err
	}
	if err := p.until(ctx, site{domain: servedHost}, 20*time.Millisecond); err != nil {
		return err
	}
	url := fmt.Sprintf("https://%s:%d%s", servedHost, n.HTTPSPort, servedPath)
	requests, took, err := load.run(ctx, url, "", b.size.connections, b.size.round)
	r.requests = float64(requests) / took.Seconds()
	return err
}

// addToEngine adds some sites and looks at the memory meanwhile.
func (b *bench) addToEngine(ctx context.Context, n *node, p *prober, r *engineRun) error {
	r.before = n.shareOfMemory()
	watched, stop := context.WithCancel(ctx)
	most := make(chan int64)
	go func() {
		var m int64
		for watched.Err() == nil {
			m = max(m, n.shareOfMemory())
			_ = rest(watched, 50*time.Millisecond) // the loop asks why it ended
		}
		most <- m
	}()
	var err error
	for i := range min(b.size.adds, 5) {
		var d time.Duration
		if d, err = n.addSite(ctx, p, fmt.Sprintf("added-%05d.example.test", i)); err != nil {
			break
		}
		r.more = append(r.more, d)
	}
	stop()
	r.most = <-most
	return err
}

// restoreRuled puts sites into the state of which one in ten has a bundle with a manifest of its own, and a third of the
// others one of ten bundles.
func (n *node) restoreRuled(ctx context.Context, count int) ([]site, error) {
	data := cluster.Zip(map[string][]byte{"index.html": servedPage(), servedPath[1:]: servedPage()})
	if err := n.client.UploadApp(ctx, "page", "zip", bytes.NewReader(data), nil); err != nil {
		return nil, err
	}
	for i := range count / ruledShare {
		data := cluster.Zip(map[string][]byte{
			"index.html": page(fmt.Sprintf("ruled %d", i), 2<<10), "404.html": page("nothing here", 1<<10),
			"_statiko.yaml": fmt.Appendf(nil, "page404: 404.html\nrules:\n  - prefix: /\n    options: {headers: {X-Frame-Options: DENY, X-Site: \"%d\"}}\n"+
				"  - file: _images\n    options: {clientCaching: 4w}\n  - exact: /internal.json\n    options: {deny: true}\n", i),
		})
		if err := n.client.UploadApp(ctx, fmt.Sprintf("ruled-%05d", i), "zip", bytes.NewReader(data), nil); err != nil {
			return nil, err
		}
	}
	return n.restoreNaming(ctx, count, func(i int) string {
		switch {
		case i%ruledShare == 0:
			return fmt.Sprintf("ruled-%05d", i/ruledShare)
		case i%3 == 0:
			return "page"
		}
		return ""
	})
}

// restoreNaming restores a state of sites with the bundles that app names; "" for none.
func (n *node) restoreNaming(ctx context.Context, count int, app func(i int) string) ([]site, error) {
	var text bytes.Buffer
	if err := n.client.State(ctx, &text); err != nil {
		return nil, err
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(text.Bytes(), &document); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	type app1 struct {
		Name string `json:"name"`
	}
	type entry struct {
		Domain  string            `json:"domain"`
		Aliases []string          `json:"aliases"`
		TLS     map[string]string `json:"tls"`
		App     *app1             `json:"app"`
	}
	sites, entries := make([]site, count), make([]entry, count)
	for i := range sites {
		sites[i].domain = fmt.Sprintf("site-%05d.example.test", i)
		entries[i] = entry{Domain: sites[i].domain, TLS: map[string]string{"type": "selfsigned"}}
		if name := app(i); name != "" {
			entries[i].App = &app1{name}
		}
	}
	list, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	document["sites"] = list
	data, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	if err := n.client.SetState(ctx, bytes.NewReader(data), int64(len(data))); err != nil {
		return nil, fmt.Errorf("restore a state of %d sites: %w", count, err)
	}
	return sites, nil
}

// shareOfMemory is what the node and its nginx have in memory, of what processes share each its part, in bytes.
func (n *node) shareOfMemory() int64 {
	pids := []int{n.Cmd.Process.Pid}
	if found, err := n.Nginx(); err == nil {
		pids = slices.Concat(pids, []int{found.Master}, found.Workers, found.Ending)
	}
	var sum int64
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has ended
		}
		if _, rest, ok := strings.Cut(string(data), "\nPss:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			sum += kb << 10
		}
	}
	return sum
}

// handshakes counts the full TLS 1.3 handshakes a second that 8 clients get, each with another site.
func handshakes(ctx context.Context, address string, sites []site, span time.Duration) (float64, error) {
	// An end by hand and no deadline, which a dial would report as its own time-out.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(span, cancel).Stop()
	var done atomic.Int64
	var fault atomic.Pointer[error]
	var clients sync.WaitGroup
	began := time.Now()
	for c := range 8 {
		clients.Go(func() {
			for i := c; ctx.Err() == nil; i += 8 {
				d := tls.Dialer{Config: &tls.Config{
					ServerName: sites[i%len(sites)].domain, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
					InsecureSkipVerify: true, // self-signed, on loopback
				}}
				conn, err := d.DialContext(ctx, "tcp4", address)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					fault.Store(&err)
					return
				}
				_ = conn.Close() // nothing more is wanted of it
				done.Add(1)
			}
		})
	}
	clients.Wait()
	if err := fault.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / time.Since(began).Seconds(), nil
}

// engineRows are the rows of one web server, by the numbers of sites.
func engineRows(counts []int, runs []*engineRun, load string) []row {
	many := runs[len(runs)-1]
	of := func(what, unit string, f func(*engineRun) float64) row {
		return row{Part: enginesPart, What: fmt.Sprintf("%s, %d sites: %s", many.engine, many.sites, what), Unit: unit, Ours: f(many),
			Growth: growth(counts, unit, func(i int) float64 { return f(runs[i]) })}
	}
	more := of("one more, POST to HTTPS, p50", "s", func(r *engineRun) float64 { return percentile(r.more, 50).Seconds() })
	more.Growth += fmt.Sprintf("; at most %s s", number(percentile(many.more, 100).Seconds()))
	memory := of("memory (PSS) at most while sites are added", "MB", func(r *engineRun) float64 { return float64(r.most) / megabyte }).
		against("before", float64(many.before)/megabyte)
	if many.sites >= targetSites {
		more = more.atMost(map[string]float64{"builtin": 1, "nginx": 3}[many.engine])
		memory = memory.target("ratio ≤ 1.3", memory.Ratio <= 1.3)
	}
	return []row{
		of("start to the last site's answer", "s", func(r *engineRun) float64 { return r.first.Seconds() }),
		more, memory,
		of("handshakes, each for another site", "a second", func(r *engineRun) float64 { return r.handshakes }),
		of("10 kB file, 32 connections ("+load+")", "requests/s", func(r *engineRun) float64 { return r.requests }),
	}
}
