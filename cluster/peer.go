package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"statiko/api"
)

// StatusPath is the route of [NodeStatus].
const StatusPath = "/internal/v1/status"

// maxAnswer bounds an answer in bytes: that of a node with a million sites.
const maxAnswer = 256 << 20

// pingAfter is how long a connection may be silent before it is looked after.
const pingAfter = 5 * time.Second

// MaxWait bounds [Query.Wait] in a call.
const MaxWait = time.Minute

// values writes a query as that of a URL.
func (q Query) values() url.Values {
	v := url.Values{}
	if q.Revision != 0 {
		v.Set("revision", strconv.FormatInt(q.Revision, 10))
		v.Set("wait", strconv.FormatFloat(q.Wait.Seconds(), 'f', 3, 64))
	}
	if q.Domain != "" {
		v.Set("domain", q.Domain)
	}
	if q.Full {
		v.Set("full", "1")
	}
	if q.Unwell {
		v.Set("unwell", "1")
	}
	return v
}

// ParseQuery reads what a call of [StatusPath] asks.
func ParseQuery(v url.Values) (Query, error) {
	q := Query{Domain: v.Get("domain"), Full: v.Get("full") == "1", Unwell: v.Get("unwell") == "1"}
	if text := v.Get("revision"); text != "" {
		var err error
		if q.Revision, err = strconv.ParseInt(text, 10, 64); err != nil || q.Revision < 0 {
			return q, fmt.Errorf("revision is %q, not a revision", text)
		}
	}
	if text := v.Get("wait"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(seconds) || seconds < 0 {
			return q, fmt.Errorf("wait is %q, not a number of seconds", text)
		}
		q.Wait = time.Duration(min(seconds, MaxWait.Seconds()) * float64(time.Second))
	}
	return q, nil
}

// peers calls other nodes.
type peers struct {
	signer *signer
	// from is this node's name.
	from string

	mu sync.Mutex
	// clients has one client for each pin: what is trusted is the key.
	clients map[string]*http.Client
}

func newPeers(s *signer, from string) *peers {
	return &peers{signer: s, from: from, clients: map[string]*http.Client{}}
}

// client returns the client that trusts a server with the pin.
func (p *peers) client(pin string) (*http.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.clients[pin]; ok {
		return c, nil
	}
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: AskTimeout}).DialContext,
		TLSHandshakeTimeout: AskTimeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
		// A machine that lost its power closes no connection: without this, calls would go on timing out on the
		// old one long after it is back.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: AskTimeout},
	}
	if pin != "" {
		var err error
		if t.TLSClientConfig, err = api.PinnedTLS(pin); err != nil {
			return nil, err
		}
	}
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p.clients[pin] = c
	return c, nil
}

// keep closes the connections to nodes whose key is no longer among the members'.
func (p *peers) keep(members []Member) {
	pins := map[string]bool{}
	for _, m := range members {
		pins[m.Pin] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for pin, c := range p.clients {
		if !pins[pin] {
			c.CloseIdleConnections()
			delete(p.clients, pin)
		}
	}
}

// close closes connections that nothing uses.
func (p *peers) close() { p.keep(nil) }

// ask asks a member how it is. The error is for people, who know which member was asked.
func (p *peers) ask(ctx context.Context, m Member, q Query) (s NodeStatus, err error) {
	response, err := p.do(ctx, m, Request{Method: http.MethodGet, Path: StatusPath, Query: q.values()})
	if err != nil {
		return s, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return s, plainCall(ctx, response.Request.URL.Host, err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s does not answer as a node does: %w", response.Request.URL.Host, err)
	}
	return s, nil
}

// Request is a call of a route for nodes.
type Request struct {
	Method, Path string
	Query        url.Values
	// Header is not part of what is proved.
	Header http.Header
	Body   []byte
}

// do makes a call, proved by each of the keys until one is accepted, and returns the answer to one that succeeded
// (status 2xx); its body is the caller's to close. What a node refused is an [*api.Error] in the error's chain.
func (p *peers) do(ctx context.Context, m Member, r Request) (*http.Response, error) {
	u, err := url.Parse(m.Address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("its address is registered as %q, which is none", m.Address)
	}
	if (u.Scheme == "https") != (m.Pin != "") {
		return nil, fmt.Errorf("its address is registered as %s, which does not go with its key", m.Address)
	}
	u.Path, u.RawQuery = r.Path, r.Query.Encode()
	client, err := p.client(m.Pin)
	if err != nil {
		return nil, err
	}
	for _, key := range p.signer.keys {
		var response *http.Response
		response, err = p.call(ctx, client, u, m.InstanceID, key, r)
		if !errors.Is(err, errRefusedThere) {
			return response, err
		}
	}
	return nil, err
}

// errRefusedThere is why a call may succeed with another key.
var errRefusedThere = errors.New("refuses")

// maxRefusal bounds the body of an answer that refuses, in bytes.
const maxRefusal = 1 << 20

// call makes one call, proved by the key.
func (p *peers) call(ctx context.Context, client *http.Client, u *url.URL, to string, key []byte, r Request) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, r.Header)
	if err := p.signer.sign(key, request, r.Body, p.from, to); err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, plainCall(ctx, u.Host, err)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if err != nil {
		return nil, plainCall(ctx, u.Host, err)
	}
	e := &api.Error{}
	if json.Unmarshal(data, e) != nil || e.Message == "" {
		return nil, fmt.Errorf("%s answers with status %d", u.Host, response.StatusCode)
	}
	e.Status = response.StatusCode
	if response.StatusCode == http.StatusUnauthorized {
		return nil, fmt.Errorf("%s %w (status %d): %w", u.Host, errRefusedThere, response.StatusCode, e)
	}
	return nil, fmt.Errorf("%s answers with status %d: %w", u.Host, response.StatusCode, e)
}

// plainCall words why a call failed.
func plainCall(ctx context.Context, host string, err error) error {
	if mismatch, ok := errors.AsType[*api.PinMismatchError](err); ok {
		return fmt.Errorf("who answers at %s has another key than is registered: %w", host, mismatch)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s did not answer in time", host)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return err
}
