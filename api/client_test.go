package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"statiko/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server without TLS and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return client(t, Options{BaseURL: s.URL, Token: "correct horse"})
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClient_RequestsOfTheContract(t *testing.T) {
	t.Parallel()
	var got string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = fmt.Sprintf("%s %s %s %q %s", r.Method, r.URL.RequestURI(), b, r.Header.Get("Content-Type"), r.Header.Get("Authorization"))
		switch {
		case r.Method == "GET":
			io.WriteString(w, map[string]string{"site": "null", "app": "null", "certificate": "[]", "node": "null"}[strings.Trim(r.URL.Path, "/")])
			if strings.Count(r.URL.Path, "/") > 1 || strings.Contains("/info /dhparams /status /clusterstatus /leader", r.URL.Path) {
				io.WriteString(w, "{}")
			}
		case r.URL.Query().Has("dryRun"):
			io.WriteString(w, `{"added":{"sites":["a.example"]}}`)
		case r.URL.Path == "/site" || r.Method == "PATCH":
			io.WriteString(w, `{"domain":"a.example"}`)
		default:
			w.WriteHeader(204)
		}
	})
	ctx := context.Background()
	text := func(s string) io.Reader { return strings.NewReader(s) }
	none := []string{}
	for want, f := range map[string]func() error{
		`GET /info  "" correct horse`: func() error { _, err := c.Info(ctx); return err },
		`GET /site  "" correct horse`: func() error {
			sites, err := c.Sites(ctx)
			if sites == nil {
				t.Error("sites are nil")
			}
			return err
		},
		`GET /site/a.example  "" correct horse`:          func() error { _, err := c.Site(ctx, "a.example"); return err },
		`GET /site/a%2Fb%3Fc%20%C3%BC  "" correct horse`: func() error { _, err := c.Site(ctx, "a/b?c ü"); return err },
		`GET /status?force=1  "" correct horse`:          func() error { _, err := c.Status(ctx, "", true); return err },
		`GET /status/a.example  "" correct horse`:        func() error { _, err := c.Status(ctx, "a.example", false); return err },
		`GET /clusterstatus  "" correct horse`:           func() error { _, err := c.ClusterStatus(ctx); return err },
		`GET /dhparams  "" correct horse`:                func() error { _, err := c.DHParams(ctx); return err },
		`POST /site {"domain":"a.example","tls":{"type":"acme"}} "application/json" correct horse`: func() error {
			_, err := c.CreateSite(ctx, SiteCreate{Domain: "a.example", TLS: &SiteTLS{Type: "acme"}})
			return err
		},
		`PATCH /site/a.example {"aliases":[]} "application/json" correct horse`: func() error {
			_, err := c.ChangeSite(ctx, "a.example", SiteChange{Aliases: &none})
			return err
		},
		`DELETE /site/a.example?wait=2  "" correct horse`: func() error {
			return c.DeleteSite(ctx, "a.example", Wait(1500e6))
		},
		`POST /site/a.example/app {"name":"docs-42"} "application/json" correct horse`: func() error {
			return c.Deploy(ctx, "a.example", "docs-42")
		},
		`POST /app/docs-42 {"signature":"","hash":"aGk="} "application/json" correct horse`: func() error {
			return c.SetAppMetadata(ctx, "docs-42", AppMetadata{Hash: "aGk="})
		},
		`DELETE /app/docs-42  "" correct horse`: func() error { return c.DeleteApp(ctx, "docs-42") },
		`POST /certificate {"name":"w","cert":"C","key":"K"} "application/json" correct horse`: func() error {
			return c.ImportCertificate(ctx, CertificateImport{Name: "w", Certificate: "C", Key: "K"})
		},
		`DELETE /certificate/w  "" correct horse`: func() error { return c.DeleteCertificate(ctx, "w") },
		`POST /dhparams {"dhparams":"PEM"} "application/json" correct horse`: func() error {
			return c.SetDHParams(ctx, "PEM")
		},
		`POST /state {"sites":[]} "application/json" correct horse`: func() error {
			return c.SetState(ctx, text(`{"sites":[]}`), -1)
		},
		`POST /sync  "" correct horse`: func() error { return c.Sync(ctx) },
		`GET /node  "" correct horse`: func() error {
			nodes, err := c.Nodes(ctx)
			if nodes == nil {
				t.Error("nodes are nil")
			}
			return err
		},
		`DELETE /node/edge%2F1  "" correct horse`:                                func() error { return c.RemoveNode(ctx, "edge/1") },
		`GET /leader  "" correct horse`:                                          func() error { _, err := c.Leader(ctx); return err },
		`POST /leader/stepdown {"to":"edge-2"} "application/json" correct horse`: func() error { return c.StepDown(ctx, "edge-2") },
		`POST /leader/stepdown {} "application/json" correct horse`:              func() error { return c.StepDown(ctx, "") },
		`POST /store/accept?wait=1  "" correct horse`:                            func() error { return c.AcceptStore(ctx, Wait(1e9)) },
	} {
		if err := f(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got != want {
			t.Errorf("sent %s\nwant %s", got, want)
		}
	}
}

func TestClient_UploadStreamsWithTheFileLast(t *testing.T) {
	t.Parallel()
	archive := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != -1 {
			t.Errorf("content length %d", r.ContentLength)
		}
		m, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		for _, want := range []struct{ name, value string }{{"name", "docs"}, {"type", "tar.gz"}, {"file", string(archive)}} {
			p, err := m.NextPart()
			if err != nil {
				t.Error(err)
				return
			}
			if b, _ := io.ReadAll(p); p.FormName() != want.name || string(b) != want.value {
				t.Errorf("part %q has %d bytes", p.FormName(), len(b))
			}
		}
		if _, err := m.NextPart(); err != io.EOF {
			t.Errorf("after the file: %v", err)
		}
		w.WriteHeader(204)
	})
	var last int64
	if err := c.UploadApp(context.Background(), "docs", "tar.gz", bytes.NewReader(archive), func(n int64) { last = n }); err != nil {
		t.Fatal(err)
	}
	if last != int64(len(archive)) {
		t.Errorf("progress ended at %d", last)
	}
}

func TestClient_RefusedUploadIsNotSent(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(409)
		io.WriteString(w, `{"error":"docs exists","code":"exists"}`)
	})
	read := &endless{}
	err := c.UploadApp(context.Background(), "docs", "zip", read, nil)
	if !errors.Is(err, state.ErrExists) {
		t.Fatalf("got %v", err)
	}
	if n := read.n.Load(); n != 0 {
		t.Errorf("%d bytes were read", n)
	}
}

// endless never ends.
type endless struct{ n atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) { e.n.Add(int64(len(b))); return len(b), nil }

func TestClient_ErrorOfTheArchiveEndsTheUpload(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				t.Error("the node got a whole body")
			}
		}))
		s.EnableHTTP2 = http2
		s.StartTLS()
		t.Cleanup(s.Close)
		c := client(t, Options{BaseURL: s.URL, Insecure: true})
		broken := errors.New("disk broke")
		err := c.UploadApp(context.Background(), "docs", "zip", io.MultiReader(strings.NewReader("begin"), failing{broken}), nil)
		if !errors.Is(err, broken) {
			t.Errorf("HTTP/2 %v: got %v", http2, err)
		}
	}
}

func TestClient_ReaderIsGivenBack(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		// Answered before the body is read, which is small enough to be on its way.
		w.WriteHeader(204)
	})
	f, err := os.Open("client_test.go")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.SetState(context.Background(), f, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Errorf("the caller's file: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestClient_ErrorsOfOtherServers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status            int
		contentType, body string
		code, message     string
	}{
		"empty 500 of the earlier program":     {500, "", "", CodeInternal, "status 500 Internal Server Error"},
		"JSON called text":                     {400, "text/plain; charset=utf-8", `{"error":"bad domain"}`, CodeMalformed, "bad domain"},
		"plain text":                           {404, "text/plain", "404 page not found\n", CodeNotFound, "404 page not found"},
		"a proxy's page":                       {502, "text/html", "<html>secret</html>", CodeInternal, "status 502 Bad Gateway"},
		"details that are text":                {500, "application/json", `{"error":"store","details":"away"}`, CodeInternal, "store"},
		"msg of failed checks":                 {400, "application/json", `{"error":"dh","msg":[{},{}]}`, CodeMalformed, "dh"},
		"a success that is not the contract's": {201, "application/json", `{}`, CodeInternal, "status 201 Created"},
		"a redirect":                           {302, "", "", CodeInternal, "redirected to http://elsewhere.example/, which is not followed with credentials"},
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", test.contentType)
			if test.status == 302 {
				w.Header().Set("Location", "http://elsewhere.example/")
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		err := c.Sync(context.Background())
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != test.status || e.Code != test.code || e.Message != test.message {
			t.Errorf("%s: got %#v", name, err)
		}
	}
}

func TestClient_StatusOfAnUnwellNode(t *testing.T) {
	t.Parallel()
	var body string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		io.WriteString(w, body)
	})
	body = `{"name":"edge-1","nginx":{"running":false},"sync":{"running":false,"lastSync":null},"store":{"healthy":true},"health":null}`
	var a Answer
	s, err := c.Status(context.Background(), "", false, Observe(&a))
	if err != nil || s.Name != "edge-1" || !s.Sync.LastSync.IsZero() || s.Health == nil || a.Status != 503 {
		t.Errorf("W70: got %+v, %v, status %d", s, err, a.Status)
	}
	for _, body = range []string{"", "<html>no backend</html>", `{"error":"starting","code":"not_ready"}`} {
		if _, err := c.Status(context.Background(), "", false); err == nil {
			t.Errorf("%q is a status", body)
		}
	}
}

func TestClient_SendsTheGreatestRevision(t *testing.T) {
	t.Parallel()
	var asked []string
	answers := []string{"7", "5", "", "9"}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get(HeaderMinRevision))
		if v := answers[len(asked)-1]; v != "" {
			w.Header().Set(HeaderRevision, v)
		}
		w.Header().Set(HeaderApplied, "false")
		w.WriteHeader(204)
	})
	for i, want := range []int64{7, 5, -1, 9} {
		var a Answer
		if err := c.Sync(context.Background(), Observe(&a)); err != nil {
			t.Fatal(err)
		}
		if a.Revision != want || a.Applied == nil || *a.Applied {
			t.Errorf("call %d: %+v", i, a)
		}
	}
	if got := strings.Join(asked, ","); got != ",7,7,7" || c.Revision() != 9 {
		t.Errorf("asked for %s, now %d", got, c.Revision())
	}
}

func TestClient_ChangeOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	})
	if err := c.Deploy(context.Background(), "a.example", "docs"); !errors.Is(err, state.ErrUnknown) {
		t.Errorf("a change without an answer is %v", err)
	}
	if _, err := c.Sites(context.Background()); err == nil || errors.Is(err, state.ErrUnknown) {
		t.Errorf("a question without an answer is %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c = client(t, Options{Node: l.Addr().String(), HTTP: true})
	if err := c.Sync(context.Background()); err == nil || errors.Is(err, state.ErrUnknown) {
		t.Errorf("a change that nobody got is %v", err)
	}
}

func TestClient_NeverComparesOnANodeThatWouldReplace(t *testing.T) {
	t.Parallel()
	modern, posted := false, 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if modern {
			w.Header().Set(HeaderRevision, "0")
		}
		if r.Method == "POST" {
			posted++
			io.WriteString(w, `{"removed":{"sites":["a.example"]}}`)
			return
		}
		io.WriteString(w, `{"authMethods":["psk"]}`)
	})
	if _, err := c.CompareState(context.Background(), strings.NewReader("{}"), 2); err == nil || posted != 0 {
		t.Errorf("got %v, %d documents sent", err, posted)
	}
	modern = true
	d, err := c.CompareState(context.Background(), strings.NewReader("{}"), 2)
	if err != nil || posted != 1 || d.Removed["sites"][0] != "a.example" {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestClient_StateThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"sites":[`)
	})
	var b bytes.Buffer
	if err := c.State(context.Background(), &b); err == nil {
		t.Errorf("%q is taken for a whole document", b.String())
	}
}

func TestNew_RefusesNonsense(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"no node":          {},
		"token with break": {Node: "localhost", Token: "a\nb"},
		"pin and insecure": {Node: "localhost", Pin: pinPrefix + strings.Repeat("A", 43) + "=", Insecure: true},
		"short pin":        {Node: "localhost", Pin: "sha256/AAAA"},
		"url for a host":   {Node: "https://localhost"},
		"other scheme":     {BaseURL: "ftp://localhost"},
		"credentials":      {BaseURL: "https://a:b@localhost"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseNode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		node string
		port int
		want string
	}{
		{"localhost", 0, "localhost:2265"}, {"Edge-1.Example.org", 99, "edge-1.example.org:99"}, {"edge:7", 99, "edge:7"},
		{"::1", 0, "[::1]:2265"}, {"[::1]", 9, "[::1]:9"}, {"[fe80::1%eth0]:8", 9, "[fe80::1%eth0]:8"}, {"10.0.0.1:80", 0, "10.0.0.1:80"},
		{"", 0, ""}, {"a:b", 0, ""}, {"a:0", 0, ""}, {"a:65536", 0, ""}, {"a:1:2", 0, ""}, {"https://a", 0, ""}, {"a", -1, ""},
		{"user@a", 0, ""}, {"[a", 0, ""}, {":80", 0, ""},
	} {
		host, port, err := ParseNode(test.node, test.port)
		got := ""
		if err == nil {
			got = net.JoinHostPort(host, fmt.Sprint(port))
		}
		if got != test.want {
			t.Errorf("%q, %d: got %q (%v), want %q", test.node, test.port, got, err, test.want)
		}
	}
}
