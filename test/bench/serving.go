package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"statiko/test/cluster"
)

const (
	// servedHost is a name that every load generator can resolve.
	servedHost = "localhost"
	servedPath = "/page.html"
	servedSize = 10_000 // bytes
)

// webServer is one of those that serve the same file.
type webServer struct {
	name    string
	process *cluster.Process
	port    int
	stop    func() error
	// rates and costs are requests a second and processor time a request in µs, one each round, by what the
	// request accepts.
	rates, costs map[string][]float64
}

func (s *webServer) url() string {
	return fmt.Sprintf("https://%s:%d%s", servedHost, s.port, servedPath)
}

// variants are the values of Accept-Encoding that are measured.
var variants = [...]string{"", "br, gzip"}

// measureServing lets all servers serve the same file, by turns.
func measureServing(ctx context.Context, b *bench) (err error) {
	load := findLoad()
	say("  load by %s", load.name)
	var servers []*webServer
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.stop())
		}
	}()
	var missing []string
	for _, open := range []func(context.Context, *bench) (*webServer, error){serveOurs, serveCaddy, serveNginx} {
		s, err := open(ctx, b)
		if m, ok := errors.AsType[missingError](err); ok {
			say("  %v", m)
			missing = append(missing, m.Error())
			continue
		}
		if err != nil {
			return err
		}
		s.rates, s.costs = map[string][]float64{}, map[string][]float64{}
		servers = append(servers, s)
	}
	for _, s := range servers {
		if err := s.check(ctx); err != nil {
			return err
		}
	}
	for _, accept := range variants {
		for round := range b.size.rounds {
			for _, s := range servers {
				if err := s.measure(ctx, b, load, accept); err != nil {
					return err
				}
				say("  round %d, Accept-Encoding %q: %s %s requests/s, %s µs of processor each", round+1, accept, s.name,
					number(s.rates[accept][round]), number(s.costs[accept][round]))
			}
		}
	}
	for _, accept := range variants {
		b.add(servingRows(b, servers, accept, load.name)...)
	}
	for _, m := range missing {
		b.add(row{Part: "c", What: "not compared", Unit: "", Against: m})
	}
	return nil
}

// measure is one server's turn.
func (s *webServer) measure(ctx context.Context, b *bench, load load, accept string) error {
	before := processorTime(s.process)
	requests, took, err := load.run(ctx, s.url(), accept, b.size.connections, b.size.round)
	if err != nil {
		return fmt.Errorf("load on %s: %w", s.name, err)
	}
	used := processorTime(s.process) - before
	s.rates[accept] = append(s.rates[accept], float64(requests)/took.Seconds())
	s.costs[accept] = append(s.costs[accept], float64(used.Microseconds())/float64(max(requests, 1)))
	return nil
}

// check makes sure that the server does what is compared: TLS 1.3, the same bytes, and a compressed form to those who
// accept one.
func (s *webServer) check(ctx context.Context) error {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true, // self-signed, on loopback
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: probeTimeout}
	for _, accept := range variants {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(), nil)
		if err != nil {
			return err
		}
		if accept != "" {
			req.Header.Set("Accept-Encoding", accept)
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		coding := resp.Header.Get("Content-Encoding")
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", s.name, err)
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("%s answers %s", s.name, resp.Status)
		case resp.TLS.Version != tls.VersionTLS13:
			return fmt.Errorf("%s answers in %s", s.name, tls.VersionName(resp.TLS.Version))
		case accept == "" && !bytes.Equal(body, servedPage()):
			return fmt.Errorf("%s serves %d bytes that are not the file's", s.name, len(body))
		case accept != "" && (coding == "" || len(body) >= servedSize/2):
			return fmt.Errorf("%s does not serve the compressed form", s.name)
		}
		say("  %s: %s, Accept-Encoding %q: %d bytes, %q", s.name, tls.CipherSuiteName(resp.TLS.CipherSuite), accept, len(body), coding)
	}
	return nil
}

func servedPage() []byte { return page("One page of ten kilobytes", servedSize) }

func servingRows(b *bench, servers []*webServer, accept, load string) []row {
	ours := servers[0]
	form := ""
	if accept != "" {
		form = ", Accept-Encoding: " + accept
	}
	what := fmt.Sprintf("10 kB file over HTTPS keep-alive, %d connections (%s)%s", b.size.connections, load, form)
	if len(servers) == 1 {
		return []row{{Part: "c", What: what, Unit: "requests/s", Ours: median(ours.rates[accept]), Growth: spread(ours.rates[accept])}}
	}
	var rows []row
	for _, s := range servers[1:] {
		r := row{Part: "c", What: what, Unit: "requests/s", Ours: median(ours.rates[accept]), Growth: spread(ours.rates[accept])}.
			against(s.name, median(s.rates[accept]))
		r.Ratio = median(ratios(ours.rates[accept], s.rates[accept]))
		if s.name == "caddy" && accept == "" {
			r = r.ratioAtLeast(1)
		}
		rows = append(rows, r)
	}
	for _, s := range servers[1:] {
		r := row{Part: "c", What: "… processor time a request" + form, Unit: "µs", Ours: median(ours.costs[accept]), Growth: spread(ours.costs[accept])}.
			against(s.name, median(s.costs[accept]))
		r.Ratio = median(ratios(ours.costs[accept], s.costs[accept]))
		rows = append(rows, r)
	}
	return rows
}

// missingError says that a program is not installed, and how to get it.
type missingError struct{ program, pkg string }

func (e missingError) Error() string {
	return fmt.Sprintf("%s is missing: apt-get install %s", e.program, e.pkg)
}

// roundBound is for how long a round may take that should take d.
func roundBound(d time.Duration) time.Duration { return d + 30*time.Second }
