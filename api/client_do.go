package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"statiko/state"
)

// TransportError says that no answer came.
type TransportError struct {
	// Address is the node's host and port.
	Address string
	// Unknown tells that a change was sent, so that it may have been made, or be made later.
	Unknown bool
	Err     error
}

func (e *TransportError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("the change was sent to %s, but no answer came (it may have been made): %v", e.Address, e.Err)
	}
	return fmt.Sprintf("no answer from %s: %v", e.Address, e.Err)
}

func (e *TransportError) Unwrap() error { return e.Err }

// Is makes a change of unknown outcome state.ErrUnknown.
func (e *TransportError) Is(target error) bool { return e.Unknown && target == state.ErrUnknown }

// send makes the call and returns the answer, whose body the caller closes. Statuses that are not accepted are
// returned as errors.
func (c *Client) send(ctx context.Context, k *call, b *body) (*http.Response, error) {
	u := *c.base
	raw := u.EscapedPath() + k.path
	u.RawPath = raw
	var err error
	if u.Path, err = url.PathUnescape(raw); err != nil {
		return nil, fmt.Errorf("path %q: %w", raw, err)
	}
	u.RawQuery = k.query.Encode()

	var reader io.Reader
	if b != nil {
		reader = b.r
	}
	// What is in memory can be sent again by the transport; what comes from a caller is only lent to it.
	if _, inMemory := reader.(*bytes.Reader); reader != nil && !inMemory {
		lent := &lentReader{r: reader}
		reader = lent
		defer func() {
			// After an interruption the read under way may last for ever: a person at the terminal.
			if ctx.Err() == nil {
				lent.giveBack()
			}
		}()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), reader)
	if err != nil {
		return nil, err
	}
	if b != nil {
		req.Header.Set("Content-Type", b.contentType)
		req.ContentLength = b.size
		if b.size == 0 {
			req.Body = http.NoBody
		}
		if b.expect() {
			req.Header.Set("Expect", "100-continue")
		}
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set("Authorization", c.token)
	set("User-Agent", c.userAgent)
	set("If-Match", k.ifMatch)
	set(HeaderSourceKey, k.sourceKey)
	if r := c.revision.Load(); r > 0 {
		set(HeaderMinRevision, strconv.FormatInt(r, 10))
	}

	var sent atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}))
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		changes := k.method != http.MethodGet && k.method != http.MethodHead
		return nil, &TransportError{Address: c.base.Host, Unknown: sent.Load() && changes, Err: err}
	}
	c.observe(k, resp)
	if len(k.accept) == 0 && resp.StatusCode/100 == 2 || slices.Contains(k.accept, resp.StatusCode) {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readError(resp)
}

// observe takes what the headers say.
func (c *Client) observe(k *call, resp *http.Response) {
	revision, err := strconv.ParseInt(resp.Header.Get(HeaderRevision), 10, 64)
	if err != nil {
		revision = -1
	}
	c.sawRevision(revision)
	if k.answer == nil {
		return
	}
	*k.answer = Answer{
		Status: resp.StatusCode, Node: resp.Header.Get(HeaderNode), Revision: revision, ETag: resp.Header.Get("ETag"),
		Replicas: resp.Header.Get(HeaderReplicas), Pending: resp.Header.Get(HeaderPending) == "true",
	}
	if applied, err := strconv.ParseBool(resp.Header.Get(HeaderApplied)); err == nil {
		k.answer.Applied = &applied
	}
	k.answer.Waiting, k.answer.WaitingMore = ParseWaiting(resp.Header.Get(HeaderWaiting))
}

// Bounds of what is read of an answer, in bytes: a page of a stranger's server must not fill the memory.
const (
	maxErrorBody = 4 << 20
	maxJSONBody  = 256 << 20
)

// call makes the call with a JSON body (none if in is nil) and decodes the answer into out (ignored if nil).
func (c *Client) call(ctx context.Context, k *call, in, out any) error {
	var b *body
	if in != nil {
		var err error
		if b, err = jsonBody(in); err != nil {
			return err
		}
	}
	resp, err := c.send(ctx, k, b)
	if err != nil {
		return err
	}
	return c.decode(k, resp, out)
}

// decode reads the answer's JSON into out and closes it.
func (c *Client) decode(k *call, resp *http.Response, out any) error {
	defer resp.Body.Close()
	if out == nil {
		// Read to the end, so that the connection can be used again.
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody))
		return c.broken(k.method, err)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJSONBody))
	if err != nil {
		return c.broken(k.method, err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return &Error{Status: resp.StatusCode, Code: CodeInternal,
			Message: fmt.Sprintf("%s did not answer %s %s as a node does (%v)", c.base.Host, k.method, k.path, err)}
	}
	return nil
}

// broken wraps an error of reading an answer. A change whose answer was cut off may well have been made.
func (c *Client) broken(method string, err error) error {
	if err == nil {
		return nil
	}
	changes := method != http.MethodGet && method != http.MethodHead
	return &TransportError{Address: c.base.Host, Unknown: changes, Err: fmt.Errorf("read the answer: %w", err)}
}

// readError makes the error of an answer that is not accepted. Nodes of the earlier program and proxies answer with
// no body, plain text or a page of HTML.
func readError(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, Code: codeOf(resp.StatusCode)}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	// What could be read is shown; that the rest is missing matters less than the status.
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var answer struct {
		Message string          `json:"error"`
		Code    string          `json:"code"`
		Details json.RawMessage `json:"details"`
	}
	switch mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); {
	case json.Unmarshal(b, &answer) == nil:
		// The earlier program's node names a 400 with JSON text/plain.
		e.Message = answer.Message
		if answer.Code != "" {
			e.Code = answer.Code
		}
		if text := ""; json.Unmarshal(answer.Details, &e.Details) != nil && json.Unmarshal(answer.Details, &text) == nil {
			e.Details = []Detail{{Message: text}}
		}
	case mediaType == "text/plain", mediaType == "" && !bytes.ContainsAny(b, "<\x00"):
		// Go's own answer to HTTP on a port for HTTPS has no type.
		e.Message, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	}
	if location := resp.Header.Get("Location"); location != "" && resp.StatusCode/100 == 3 {
		e.Message = fmt.Sprintf("redirected to %s, which is not followed with credentials", location)
	}
	if e.Message == "" {
		e.Message = strings.TrimSpace(fmt.Sprintf("status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
	}
	return e
}
