package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Sender delivers events. Send returns nil only if the receiver has taken the event, and never shows a secret in an
// error. It is safe for concurrent use.
type Sender interface {
	Send(ctx context.Context, e Event) error
}

// HeaderEventID carries the event's ID, equal in all attempts.
const HeaderEventID = "X-STK-Event-Id"

// DefaultTimeout bounds one attempt.
const DefaultTimeout = 15 * time.Second

// maxAnswer is how much of an answer is read, so that the connection can be used again.
const maxAnswer = 64 << 10

// WebhookOptions say where a [Webhook] posts to.
type WebhookOptions struct {
	// URL is http or https. It often holds a secret, so it never appears in an error, except for its host.
	URL string
	// PayloadKey is the member of the posted object that holds the text; "" is "value1".
	PayloadKey string
	// Timeout bounds one attempt; 0 is DefaultTimeout.
	Timeout time.Duration
}

// Webhook posts events to a URL as {"<payload key>": "<text>"}.
type Webhook struct {
	url     *url.URL
	key     string
	timeout time.Duration
	client  *http.Client
}

var _ Sender = (*Webhook)(nil)

// NewWebhook returns a webhook. Its error is a faulty URL.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("the webhook's address must begin with http:// or https:// and a host") // not shown: it may hold a secret
	}
	w := &Webhook{url: u, key: o.PayloadKey, timeout: o.Timeout}
	if w.key == "" {
		w.key = "value1"
	}
	if w.timeout <= 0 {
		w.timeout = DefaultTimeout
	}
	w.client = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: w.timeout, MaxResponseHeaderBytes: maxAnswer,
		},
		// A redirect would carry the text, and perhaps the secret, to somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, nil
}

// Host is where the webhook posts to, without anything secret.
func (w *Webhook) Host() string { return w.url.Host }

// Close closes idle connections.
func (w *Webhook) Close() error { w.client.CloseIdleConnections(); return nil }

// SendError says why an event was not taken.
type SendError struct {
	// Host is that of the webhook.
	Host string
	// Status is that of the answer; 0 if there was none.
	Status int
	// RetryAfter is how long the receiver asks to wait; 0 if it does not.
	RetryAfter time.Duration
	// Reason is for people.
	Reason string
}

func (e *SendError) Error() string {
	return fmt.Sprintf("%s did not take the notice: %s", e.Host, e.Reason)
}

// Refused tells whether the receiver answered that it does not want this very event, so that another may fare better.
func (e *SendError) Refused() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// Send posts the event. Any status from 200 to 299 means that it was taken; the error is a [*SendError].
func (w *Webhook) Send(ctx context.Context, e Event) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]string{w.key: e.Message()}); err != nil {
		return w.failed(err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(bytes.TrimSpace(body.Bytes())))
	if err != nil {
		return w.failed("its address cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "statiko")
	req.Header.Set(HeaderEventID, e.ID)
	resp, err := w.client.Do(req)
	if err != nil {
		return w.failed(w.plain(ctx, err))
	}
	defer resp.Body.Close()
	// The status decides; what can be read of the rest only helps to keep the connection.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	reason := fmt.Sprintf("it answered with status %d", resp.StatusCode)
	if resp.StatusCode/100 == 3 {
		reason += ", and redirects are not followed"
	}
	f := w.failed(reason)
	f.Status = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		f.RetryAfter = time.Duration(min(s, int(time.Hour/time.Second))) * time.Second
	}
	return f
}

func (w *Webhook) failed(reason string) *SendError {
	return &SendError{Host: w.url.Host, Reason: reason}
}

// plain returns the reason of a failed request without the URL, which net/http puts in front.
func (w *Webhook) plain(ctx context.Context, err error) string {
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return "the attempt was interrupted"
	case ctx.Err() != nil:
		return fmt.Sprintf("no answer within %v", w.timeout)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	text := err.Error()
	// A proxy or a resolver might repeat what it was given.
	for _, part := range w.secrets() {
		text = strings.ReplaceAll(text, part, "…")
	}
	return text
}

// secrets are the parts of the address that may be one.
func (w *Webhook) secrets() []string {
	var parts []string
	add := func(s string) {
		if len(s) > 3 {
			parts = append(parts, s)
		}
	}
	add(w.url.String())
	add(w.url.RequestURI())
	add(w.url.RawQuery)
	add(w.url.EscapedPath())
	if u := w.url.User; u != nil {
		add(u.String())
		if p, ok := u.Password(); ok {
			add(p)
		}
	}
	return parts
}
