package servertest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// question is a request as it goes over the wire.
type question struct {
	plain  bool // over HTTP
	sni    string
	host   string
	method string
	path   string
	header []string // "Name: value"
	body   string
}

const patience = 20 * time.Second

// trustAll: certificates are self-signed here, and are compared where they matter.
func trustAll(sni string, protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: sni, NextProtos: protocols}
}

// ask sends a request over HTTP/1.1 byte for byte, on a connection of its own.
func (w *world) ask(q question) (*answer, error) {
	var c net.Conn
	var err error
	if q.plain {
		c, err = net.DialTimeout("tcp", w.HTTP, patience)
	} else {
		c, err = tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.HTTPS, trustAll(q.sni, "http/1.1"))
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", q.method, q.path, q.host)
	for _, line := range q.header {
		b.WriteString(line + "\r\n")
	}
	if q.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(q.body))
	}
	fmt.Fprintf(&b, "Connection: close\r\n\r\n%s", q.body)
	if _, err := c.Write(b.Bytes()); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: q.method})
	if err != nil {
		return nil, err
	}
	return read(res)
}

// ask2 sends a request over HTTP/2.
func (w *world) ask2(client *http.Client, q question) (*answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	path, query, _ := strings.Cut(q.path, "?")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: "https", Host: q.host, Path: decoded, RawPath: path, RawQuery: query}
	req := (&http.Request{Method: q.method, URL: u, Host: q.host, Header: http.Header{}}).WithContext(ctx)
	if q.body != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(q.body)), int64(len(q.body))
	}
	for _, line := range q.header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.ProtoMajor != 2 {
		return nil, fmt.Errorf("answered over %s", res.Proto)
	}
	return read(res)
}

func read(res *http.Response) (*answer, error) {
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("body of a %d: %w", res.StatusCode, err)
	}
	return &answer{status: res.StatusCode, header: res.Header, body: string(body)}, nil
}

// client2 speaks HTTP/2 to the server, whatever host is asked for. It keeps its connections.
func (w *world) client2(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.HTTPS)
		},
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// get asks for a path of a site over HTTPS.
func (w *world) get(t *testing.T, host, path string) *answer {
	t.Helper()
	a, err := w.ask(question{sni: host, host: host, method: "GET", path: path})
	if err != nil {
		t.Fatalf("GET https://%s%s: %v", host, path, err)
	}
	return a
}

// wantBody asks for the first page of a site.
func (w *world) wantBody(t *testing.T, host, body string) {
	t.Helper()
	if a := w.get(t, host, "/"); a.status != 200 || a.body != body {
		t.Errorf("GET https://%s/: %d %q, want 200 %q", host, a.status, a.body, body)
	}
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
