package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"statiko/filestore"
	"statiko/state"
)

// posted is one request as the receiver saw it.
type posted struct{ method, path, contentType, id, auth, body string }

// hook is a real HTTP server that notes what it gets, and answers as told.
type hook struct {
	*httptest.Server
	mu   sync.Mutex
	got  []posted
	news chan struct{}
}

func newHook(t testing.TB, answer func(n int, w http.ResponseWriter, r *http.Request)) *hook {
	h := &hook{news: make(chan struct{}, 1000)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.got = append(h.got, posted{r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), r.Header.Get(HeaderEventID),
			r.Header.Get("Authorization"), string(body)})
		n := len(h.got)
		h.mu.Unlock()
		h.news <- struct{}{}
		answer(n, w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) requests() []posted {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]posted(nil), h.got...)
}

func status(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func newWebhook(t testing.TB, o WebhookOptions) *Webhook {
	t.Helper()
	w, err := NewWebhook(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func TestWebhook_Request(t *testing.T) {
	h := newHook(t, status(200))
	for _, c := range []struct{ key, want string }{
		{"", `{"value1":"[statiko] (edge-1) a <b> & \"c\""}`},
		{"text", `{"text":"[statiko] (edge-1) a <b> & \"c\""}`},
	} {
		e := event("certificate/shop/20300101T000000Z/-2")
		e.Text = `a <b> & "c"`
		w := newWebhook(t, WebhookOptions{URL: strings.Replace(h.URL, "http://", "http://me:pw@", 1) + "/hook/T0KEN?k=S3CRET", PayloadKey: c.key})
		if err := w.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		all := h.requests()
		want := posted{"POST", "/hook/T0KEN?k=S3CRET", "application/json", e.ID, "Basic bWU6cHc=", c.want}
		if got := all[len(all)-1]; got != want {
			t.Errorf("%+v", got)
		}
	}
}

// W66: the earlier program took everything but 200 for a failure.
func TestW66_AnyStatusOfSuccessIsSuccess(t *testing.T) {
	for code, ok := range map[int]bool{200: true, 201: true, 202: true, 204: true, 299: true,
		302: false, 304: false, 307: false, 400: false, 401: false, 404: false, 422: false, 429: false, 500: false, 503: false} {
		h := newHook(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(code)
		})
		err := newWebhook(t, WebhookOptions{URL: h.URL}).Send(t.Context(), event("e"))
		if (err == nil) != ok {
			t.Errorf("%d: %v", code, err)
		}
		var f *SendError
		if !ok && (!errors.As(err, &f) || f.Status != code || f.RetryAfter != 7*time.Second || f.Refused() != (code == 400 || code == 422)) {
			t.Errorf("%d: %+v", code, f)
		}
	}
}

func TestWebhook_RedirectIsNotFollowed(t *testing.T) {
	other := newHook(t, status(200))
	for _, code := range []int{301, 302, 303, 307, 308} {
		h := newHook(t, func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/S3CRET", code) })
		err := newWebhook(t, WebhookOptions{URL: h.URL}).Send(t.Context(), event("e"))
		if err == nil || !strings.Contains(err.Error(), "redirect") || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%d: %v", code, err)
		}
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("%d notices went elsewhere", n)
	}
}

func TestWebhook_HangsAndEndlessAnswers(t *testing.T) {
	for name, answer := range map[string]func(int, http.ResponseWriter, *http.Request){
		"never answers": func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"endless headers": func(_ int, w http.ResponseWriter, r *http.Request) {
			c, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = buf.WriteString("HTTP/1.1 200 OK\r\n")
			for i := 0; buf.Flush() == nil; i++ {
				fmt.Fprintf(buf, "X-%d: %s\r\n", i, strings.Repeat("x", 1000))
			}
		},
	} {
		h := newHook(t, answer)
		began := time.Now()
		err := newWebhook(t, WebhookOptions{URL: h.URL, Timeout: 300 * time.Millisecond}).Send(t.Context(), event("e"))
		if err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
	}
	// What was answered with success was taken, however the rest of the answer goes on.
	h := newHook(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	})
	if err := newWebhook(t, WebhookOptions{URL: h.URL, Timeout: 2 * time.Second}).Send(t.Context(), event("e")); err != nil {
		t.Errorf("endless body: %v", err)
	}
}

func TestWebhook_SecretsAreInNoError(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	self := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer self.Close()
	self.Config.ErrorLog = nil
	hang := newHook(t, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, base := range map[string]string{
		"refused": gone.URL, "unknown authority": self.URL, "hangs": hang.URL, "status": newHook(t, status(500)).URL,
		"no such host": "http://nowhere.invalid", "not HTTP": strings.Replace(self.URL, "https://", "http://", 1),
	} {
		u := strings.Replace(base, "://", "://user:PASSW0RD@", 1) + "/hooks/T0KEN?key=S3CRET"
		w := newWebhook(t, WebhookOptions{URL: u, Timeout: time.Second})
		err := w.Send(t.Context(), event("e"))
		if err == nil {
			t.Fatalf("%s: delivered", name)
		}
		for _, s := range []string{"PASSW0RD", "T0KEN", "S3CRET"} {
			if strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !strings.Contains(err.Error(), w.Host()) {
			t.Errorf("%s: %v does not name the host", name, err)
		}
	}
	for _, u := range []string{"", "ftp://h/S3CRET", "https:///S3CRET", "https://h\x7f/S3CRET", "h.example/S3CRET"} {
		if _, err := NewWebhook(WebhookOptions{URL: u}); err == nil || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%q: %v", u, err)
		}
	}
}

// The whole way, with a file, a socket and a receiver that is unwell at first.
func TestW66_OnAFileOverHTTP(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	path := filepath.Join(t.TempDir(), "state.json")
	open := func() *filestore.Store {
		s, err := filestore.Open(filestore.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	h := newHook(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 1:
			w.WriteHeader(500)
		case 2:
			<-r.Context().Done() // hangs
		case 3:
			http.Redirect(w, r, "/elsewhere/S3CRET", http.StatusFound)
		default:
			w.WriteHeader(204)
		}
	})
	deliver := func(s state.Store, requests int) {
		t.Helper()
		w := newWebhook(t, WebhookOptions{URL: h.URL + "/T0KEN", Timeout: 200 * time.Millisecond})
		d, err := NewDuty(Options{Store: s, Sender: w, Node: "edge-1", Log: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		d.pause = 20 * time.Millisecond
		g := run1(t, d)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for snap := s.Snapshot(); ; {
			n, _ := Pending(snap)
			if n == 0 {
				break
			}
			if snap, err = s.Wait(ctx, snap.Revision()); err != nil {
				t.Fatalf("%d are pending after %d requests: %v", n, len(h.requests()), err)
			}
		}
		g.end()
		if n := len(h.requests()); n != requests {
			t.Errorf("%d requests, want %d: %v", n, requests, h.requests())
		}
	}
	s := open()
	records(t, s, 0, 2)
	deliver(s, 5)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	records(t, s, 0, 3) // two of them again, after a restart
	deliver(s, 6)
	delivered := map[string]int{}
	for i, p := range h.requests() {
		if i >= 3 {
			delivered[p.id]++
		}
	}
	if len(delivered) != 3 {
		t.Errorf("%v", delivered)
	}
	for _, l := range logs.All() {
		if text := fmt.Sprint(l.Message, l.ContextMap()); strings.Contains(text, "T0KEN") || strings.Contains(text, "S3CRET") {
			t.Errorf("a secret is in the log: %s", text)
		}
	}
}
