package server

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"statiko/certs"
	"statiko/dhparams"
)

// cli sends what the earlier program's CLI sends, byte for byte as far as it was recorded: HTTP/1.1 over TLS, a raw
// Authorization, and no other headers than its HTTP library's.
type cli struct {
	t    *testing.T
	addr string
}

// ask sends a request. framing is the part of the head that describes the body, "" without one.
func (c *cli) ask(method, path, framing, body string) (int, http.Header, []byte) {
	c.t.Helper()
	conn, err := tls.Dial("tcp", c.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Go-http-client/1.1\r\n%sAuthorization: %s\r\nAccept-Encoding: gzip\r\n\r\n",
		method, path, c.addr, framing, testPSK)
	if _, err := io.WriteString(conn, head+body); err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, resp.Header, data
}

func (c *cli) json(method, path, body string) (int, []byte) {
	c.t.Helper()
	status, _, data := c.ask(method, path, fmt.Sprintf("Content-Length: %d\r\nContent-Type: application/json\r\n", len(body)), body)
	return status, data
}

// exactly is for calls of which the CLI accepts one code only.
func (c *cli) exactly(want int, method, path, body string) []byte {
	c.t.Helper()
	status, data := c.json(method, path, body)
	if status != want {
		c.t.Fatalf("%s %s: status %d, and the CLI insists on %d\n%s", method, path, status, want, data)
	}
	return data
}

func (c *cli) get(path string) []byte {
	c.t.Helper()
	status, _, data := c.ask("GET", path, "", "")
	if status >= 399 {
		c.t.Fatalf("GET %s: status %d\n%s", path, status, data)
	}
	return data
}

func (c *cli) delete(path string) {
	c.t.Helper()
	if status, _, data := c.ask("DELETE", path, "", ""); status != 204 {
		c.t.Fatalf("DELETE %s: status %d, and the CLI insists on 204\n%s", path, status, data)
	}
}

func chunked(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
	}
	return b.String() + "0\r\n\r\n"
}

func startForCLI(t *testing.T) (*node, *cli) {
	n := start(t, nil)
	s := httptest.NewTLSServer(n.server.Handler())
	t.Cleanup(s.Close)
	return n, &cli{t, strings.TrimPrefix(s.URL, "https://")}
}

// uploadApp is "app upload": name, type, file, of unknown length; then the metadata.
func (c *cli) uploadApp(name string, archive []byte) {
	c.t.Helper()
	const boundary = "0f3c6a0d9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b"
	field := func(name, value string) string {
		return "--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	body := chunked(field("name", name), field("type", "zip"),
		"--"+boundary+"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\nContent-Type: application/octet-stream\r\n\r\n",
		string(archive), "\r\n--"+boundary+"--\r\n")
	status, _, data := c.ask("POST", "/app", "Transfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary="+boundary+"\r\n", body)
	if status != 204 {
		c.t.Fatalf("app upload: status %d\n%s", status, data)
	}
	sum := sha256.Sum256(archive)
	c.exactly(204, "POST", "/app/"+name, `{"signature":"","hash":"`+base64.StdEncoding.EncodeToString(sum[:])+`"}`)
}

func TestEarlierCLI_WholeSession(t *testing.T) {
	t.Parallel()
	_, c := startForCLI(t)

	var info struct{ AuthMethods []string }
	if err := json.Unmarshal(c.get("/info"), &info); err != nil || len(info.AuthMethods) != 1 || info.AuthMethods[0] != "psk" {
		t.Errorf("auth psk: %+v %v", info, err)
	}
	if got := string(c.get("/site")); strings.TrimSpace(got) != "[]" {
		t.Errorf("site list: %s", got)
	}

	cert, key := pair(t, certs.Request{Names: []string{"docs.example.org"}})
	body, err := json.Marshal(map[string]any{"name": "wildcard-2020", "cert": cert, "key": key, "force": false})
	if err != nil {
		t.Fatal(err)
	}
	c.exactly(204, "POST", "/certificate", string(body))
	if got := strings.TrimSpace(string(c.get("/certificate"))); got != `["wildcard-2020"]` {
		t.Errorf("certificate list: %s", got)
	}

	site := func(data []byte) (s struct {
		Domain    string
		Aliases   []string
		Temporary bool
		TLS       *struct{ Type, Cert, Ver string }
		App       *struct{ Name string }
	}) {
		t.Helper()
		if err := json.Unmarshal(data, &s); err != nil || s.Domain == "" || s.TLS == nil {
			t.Fatalf("not a site: %v %s", err, data)
		}
		return s
	}
	site(c.exactly(200, "POST", "/site", `{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"imported","cert":"wildcard-2020"},"temporary":false}`))
	if s := site(c.exactly(200, "POST", "/site", `{"domain":"","aliases":null,"tls":{"type":"selfsigned"},"temporary":true}`)); !s.Temporary {
		t.Errorf("site add -t: %+v", s)
	}
	if s := site(c.exactly(200, "PATCH", "/site/docs.example.org", `{"tls":{"type":"selfsigned"}}`)); len(s.Aliases) != 1 || s.TLS.Type != "selfsigned" {
		t.Errorf("site set: %+v", s)
	}
	if s := site(c.exactly(200, "PATCH", "/site/docs.example.org", `{"tls":{"type":"akv","cert":"NAME","ver":"VERSION"},"aliases":["a.example.org","b.example.org"]}`)); len(s.Aliases) != 2 || s.TLS.Ver != "VERSION" {
		t.Errorf("site set -a -c akv: %+v", s)
	}
	site(c.get("/site/a.example.org"))

	c.uploadApp("docs-42", zipped(t, map[string]string{"index.html": "hello"}))
	var apps []struct {
		Name         string
		Size         int
		LastModified time.Time
	}
	if err := json.Unmarshal(c.get("/app"), &apps); err != nil || len(apps) != 1 || apps[0].Size == 0 || apps[0].LastModified.IsZero() {
		t.Errorf("app list: %+v %v", apps, err)
	}
	c.exactly(204, "POST", "/site/docs.example.org/app", `{"name":"docs-42"}`)
	if s := site(c.get("/site/docs.example.org")); s.App == nil || s.App.Name != "docs-42" {
		t.Errorf("deploy: %+v", s)
	}

	var dh struct{ Type string }
	if err := json.Unmarshal(c.get("/dhparams"), &dh); err != nil || dh.Type != "builtin" {
		t.Errorf("dhparams get: %+v %v", dh, err)
	}
	text, err := json.Marshal(map[string]string{"dhparams": dhparams.Builtin(3072).PEM()})
	if err != nil {
		t.Fatal(err)
	}
	c.exactly(204, "POST", "/dhparams", string(text))

	// "state sync" has neither body nor type; "state set" from standard input is chunked.
	if status, _, data := c.ask("POST", "/sync", "Content-Length: 0\r\n", ""); status != 204 {
		t.Errorf("state sync: status %d %s", status, data)
	}
	document := string(c.get("/state"))
	if status, _, data := c.ask("POST", "/state", "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n",
		chunked(document[:10], document[10:])); status != 204 {
		t.Errorf("state set: status %d %s", status, data)
	}
	if again := string(c.get("/state")); again != document {
		t.Errorf("state get after state set:\n%s\nbefore\n%s", again, document)
	}

	c.delete("/site/docs.example.org")
	c.delete("/app/docs-42")
	c.delete("/certificate/wildcard-2020")
}

// What "status" and "cluster status" read; a null lastSync crashes them.
func TestEarlierCLI_Status(t *testing.T) {
	t.Parallel()
	n, c := startForCLI(t)
	type status struct {
		Name  *string
		Nginx *struct{ Running *bool }
		Sync  *struct {
			Running   *bool
			LastSync  *time.Time
			SyncError *string
		}
		Store  *struct{ Healthy *bool }
		Health []struct {
			Domain  string
			App     *string
			Healthy *bool
			Error   *string
			Time    *time.Time
		}
	}
	check := func(data []byte, s *status) {
		t.Helper()
		if s.Name == nil || *s.Name == "" || s.Nginx == nil || s.Nginx.Running == nil || s.Sync == nil || s.Sync.LastSync == nil ||
			s.Sync.Running == nil || s.Store == nil || s.Store.Healthy == nil {
			t.Errorf("the CLI crashes on %s", data)
			return
		}
		for _, h := range s.Health {
			if h.Domain == "" || h.Healthy == nil {
				t.Errorf("the CLI cannot show %s", data)
			}
		}
	}
	ask := func(path string, want int) {
		t.Helper()
		code, _, data := c.ask("GET", path, "", "")
		var s status
		if err := json.Unmarshal(data, &s); err != nil || code != want {
			t.Errorf("%s: status %d, want %d: %v %s", path, code, want, err, data)
		}
		check(data, &s)
	}
	ask("/status", 200)
	n.site("docs.example.org")
	ask("/status", 200)
	ask("/status?force=1", 200)
	ask("/status/docs.example.org?force=1", 200)
	n.web.Running = false
	ask("/status", 503) // with the whole body
	n.web.Running = true
	if code, _, _ := c.ask("GET", "/status/none.example.org", "", ""); code != 404 {
		t.Errorf("status -d of no site: %d", code)
	}
	cluster := map[string]*status{}
	data := c.get("/clusterstatus")
	if err := json.Unmarshal(data, &cluster); err != nil || len(cluster) != 1 {
		t.Errorf("cluster status: %v %s", err, data)
	}
	for _, s := range cluster {
		if s == nil {
			t.Fatalf("the CLI crashes on %s", data)
		}
		check(data, s)
	}
}

// The CLI looks for the code 401 to say that the key is wrong.
func TestEarlierCLI_WrongKey(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	a := n.do(request{method: "GET", path: "/site", anonymous: true, header: map[string]string{"Authorization": "wrong"}}).want(401)
	if !json.Valid(a.body) {
		t.Errorf("answer %s", a.body)
	}
}
