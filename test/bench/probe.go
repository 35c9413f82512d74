package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"statiko/test/cluster"
)

// prober asks sites over TLS as visitors do. The handshakes are the cheapest that the server offers, because the
// prober runs on the machine that is measured.
type prober struct{ address string }

func (n *node) prober() *prober { return &prober{n.Address(n.HTTPSPort)} }

// site is one that must be served.
type site struct {
	domain string
	// text must stand in the answer; "" for any.
	text string
}

// ask succeeds if the site answers over a new connection, with a certificate of its own and status 200.
func (p *prober) ask(ctx context.Context, s site) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{
		ServerName: s.domain, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
		// The certificates are self-signed. That it is the site's own is checked below, that the server has its
		// key by the handshake.
		InsecureSkipVerify: true,
	}}
	conn, err := d.DialContext(ctx, "tcp4", p.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if !slices.Contains(leaf.DNSNames, s.domain) {
		return fmt.Errorf("%s is answered with a certificate for %v", s.domain, leaf.DNSNames)
	}
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+s.domain+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", s.domain, resp.Status)
	}
	if s.text == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && !bytes.Contains(body, []byte(s.text)) {
		err = fmt.Errorf("%s does not serve its bundle yet", s.domain)
	}
	return err
}

// until asks again and again. Each try costs the node a handshake, so the pauses are as long as the figure allows.
func (p *prober) until(ctx context.Context, s site, pause time.Duration) error {
	return cluster.PollEvery(ctx, pause, serveTimeout, s.domain+" is served", func() error { return p.ask(ctx, s) })
}

// probers is how many connections askAll has at a time.
const probers = 8

// askAll waits until every site was served once. Sites that are not ready yet come again after the others.
func (p *prober) askAll(ctx context.Context, sites []site) error {
	ctx, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	type attempt struct {
		site  site
		fault error
	}
	todo := make(chan attempt, len(sites))
	for _, s := range sites {
		todo <- attempt{site: s}
	}
	var left sync.WaitGroup
	left.Add(len(sites))
	var workers sync.WaitGroup
	done := make(chan struct{})
	for range probers {
		workers.Go(func() {
			for {
				var a attempt
				select {
				case a = <-todo:
				case <-done:
					return
				}
				if ctx.Err() == nil {
					if a.fault = p.ask(ctx, a.site); a.fault == nil {
						left.Done()
						continue
					}
				}
				if rest(ctx, 10*time.Millisecond) != nil {
					left.Done() // given up: the context's end is the error
					continue
				}
				todo <- a
			}
		})
	}
	left.Wait()
	close(done)
	workers.Wait()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not all of %d sites were served within %s", len(sites), serveTimeout)
	}
	return ctx.Err()
}

// listening waits until the address accepts connections.
func listening(ctx context.Context, p *cluster.Process, address string) error {
	what := filepath.Base(p.Cmd.Path) + " accepts connections on " + address
	return cluster.PollEvery(ctx, 5*time.Millisecond, startTimeout, what, func() error {
		if !p.Running() {
			return cluster.NoUse(fmt.Errorf("it ended: %w\n%s", p.Err, p.Tail()))
		}
		c, err := net.DialTimeout("tcp4", address, time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}
