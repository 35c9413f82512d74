package api

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Options say which node a [Client] talks to, what it trusts, and how it proves itself.
type Options struct {
	// BaseURL, such as "https://node.example.org:2265", takes the place of Node, Port and HTTP if not empty.
	BaseURL string
	// Node is the node's host, as [ParseNode] reads it.
	Node string
	// Port is DefaultPort if 0.
	Port int
	// HTTP makes the client talk without TLS.
	HTTP bool

	// Token is sent as the value of the header Authorization, as it is: the pre-shared key. Nothing is sent if
	// it is empty.
	Token string

	// Pin, if not empty, is the only thing trusted: a node must show a key with this fingerprint (see [PinOf]),
	// whatever its certificate says.
	Pin string
	// Insecure makes the client trust whoever answers.
	Insecure bool
	// RootCAs are trusted if neither Pin nor Insecure is set; nil means the system's.
	RootCAs *x509.CertPool

	// UserAgent is sent if not empty.
	UserAgent string
	// Timeout bounds each call, upload and download included; 2 hours if 0.
	Timeout time.Duration
	// MinRevision is a revision of the state that the node must know before it answers; see [Client.Revision].
	MinRevision int64
}

// Client calls one node's API. Its methods are safe for concurrent use. They return an [*Error] if the node
// answered with an error and a [*TransportError] if it did not answer.
//
// Redirects are never followed: they would carry the credentials to somewhere else.
type Client struct {
	base      *url.URL
	http      *http.Client
	token     string
	userAgent string
	revision  atomic.Int64
}

// defaultTimeout is that of the earlier program's client: long enough for an upload over a slow line.
const defaultTimeout = 2 * time.Hour

// New returns a client. It does not connect. Close it when done.
func New(o Options) (*Client, error) {
	base, err := baseURL(o)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(o.Token, "\r\n\x00") {
		return nil, fmt.Errorf("the key holds a line break, which cannot be sent")
	}
	config, err := clientTLS(o)
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	c := &Client{base: base, token: o.Token, userAgent: o.UserAgent}
	c.revision.Store(o.MinRevision)
	c.http = &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:     config,
			TLSHandshakeTimeout: dialTimeout,
			ForceAttemptHTTP2:   true,
			IdleConnTimeout:     90 * time.Second,
			MaxIdleConnsPerHost: 16,
			// So long an upload waits for the node's word that it wants it; one that does not know the
			// header says nothing.
			ExpectContinueTimeout: 2 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func baseURL(o Options) (*url.URL, error) {
	if o.BaseURL != "" {
		u, err := url.Parse(o.BaseURL)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
			return nil, fmt.Errorf("%q is not a node's URL, such as https://node.example.org:2265", o.BaseURL)
		}
		u.Path, u.RawPath, u.RawQuery, u.Fragment = strings.TrimSuffix(u.Path, "/"), "", "", ""
		return u, nil
	}
	host, port, err := ParseNode(o.Node, o.Port)
	if err != nil {
		return nil, err
	}
	scheme := "https"
	if o.HTTP {
		scheme = "http"
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, strconv.Itoa(port))}, nil
}

// Close closes connections that nothing uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Address returns host and port of the node.
func (c *Client) Address() string { return c.base.Host }

// Revision returns the greatest revision of the state that the node's answers, or the options, named. The client
// sends it with every request, so that an answer never tells of a state before a change that was acknowledged.
func (c *Client) Revision() int64 { return c.revision.Load() }

// sawRevision remembers a revision that an answer named.
func (c *Client) sawRevision(r int64) {
	for {
		old := c.revision.Load()
		if r <= old || c.revision.CompareAndSwap(old, r) {
			return
		}
	}
}

// Answer is what the headers of an answer say.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// Node is the name of the node that answered; "" if it does not say.
	Node string
	// Revision is the state's at which a change was committed, or that an answer was made from; -1 if the node does
	// not say, as those of the earlier program.
	Revision int64
	// ETag is that of the object in the answer, for [IfMatch].
	ETag string
	// Applied tells, after a change with [Wait], whether it was applied in time; nil if the node does not say.
	Applied *bool
	// Replicas tells, after an upload, on how many nodes the bundle is and should be, such as "1/2"; "" if the node
	// does not say.
	Replicas string
	// Pending tells, after an upload, that the bundle cannot be deployed before its signature comes.
	Pending bool
	// Waiting has the nodes that have not applied it, as far as the node says, and WaitingMore how many more there
	// are.
	Waiting     []Waiting
	WaitingMore int
}

// CallOption changes one call.
type CallOption func(*call)

// call is one request to be made.
type call struct {
	method string
	// path is what follows the base, escaped.
	path  string
	query url.Values
	// accept are the statuses that are no errors; any 2xx if empty.
	accept  []int
	ifMatch string
	// sourceKey is the encryption key of the document that is sent.
	sourceKey string
	answer    *Answer
}

// Wait makes a change wait, at most so long (rounded up to seconds), until it is applied. See [Answer.Applied].
func Wait(d time.Duration) CallOption {
	return func(c *call) {
		if d > 0 {
			c.query.Set("wait", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
		}
	}
}

// IfMatch makes a change fail with state.ErrPrecondition unless the object's ETag is this.
func IfMatch(etag string) CallOption { return func(c *call) { c.ifMatch = etag } }

// SourceKey sends the encryption key (base64) of a document whose secrets the node's own keys do not open. It is for
// [Client.SetState] and [Client.CompareState], and for nodes that [Client.CompareState] works with only.
func SourceKey(key string) CallOption { return func(c *call) { c.sourceKey = key } }

// Observe stores what the headers of the answer say, also if the call returns an [*Error].
func Observe(a *Answer) CallOption { return func(c *call) { c.answer = a } }

// newCall prepares a call of a route. The segments of the path are escaped.
func newCall(method string, options []CallOption, segments ...string) *call {
	c := &call{method: method, query: url.Values{}}
	for _, s := range segments {
		if s == "." || s == ".." {
			// Escaping leaves dots alone, and they would change the path.
			s = strings.ReplaceAll(s, ".", "%2E")
		} else {
			s = url.PathEscape(s)
		}
		c.path += "/" + s
	}
	for _, o := range options {
		o(c)
	}
	return c
}
