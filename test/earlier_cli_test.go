package test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"reflect"
	"strings"
	"testing"
	"time"

	"statiko/certs"
	"statiko/dhparams"
	"statiko/test/cluster"
)

// earlierCLI sends to a node, over real TLS, what the earlier program's CLI sends: HTTP/1.1 or 2, a raw Authorization,
// names in the path as they are, no user agent that anybody knows.
type earlierCLI struct {
	t    *testing.T
	base string
	key  string
	http *http.Client
}

func newEarlierCLI(t *testing.T, n *cluster.Node, http2 bool) *earlierCLI {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	return &earlierCLI{t, "https://" + n.Address(n.APIPort), n.PSK, &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// send makes a request; without a type there is no header Content-Type. A body that is an io.Reader of no known kind is
// sent without a length.
func (c *earlierCLI) send(method, path, contentType string, body io.Reader) (int, []byte) {
	c.t.Helper()
	req, err := http.NewRequest(method, c.base+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", c.key)
	req.Header.Set("User-Agent", "")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.Header.Get("X-STK-Node") == "" {
		c.t.Errorf("%s %s: no X-STK-Node", method, path)
	}
	if t := resp.Header.Get("Content-Type"); len(data) > 0 && t != "application/json; charset=utf-8" {
		c.t.Errorf("%s %s: Content-Type %q", method, path, t)
	}
	return resp.StatusCode, data
}

// insist is for requests of which the CLI takes one status only.
func (c *earlierCLI) insist(status int, method, path, body string) []byte {
	c.t.Helper()
	contentType, r := "", io.Reader(nil)
	if body != "" {
		contentType, r = "application/json", strings.NewReader(body)
	}
	got, data := c.send(method, path, contentType, r)
	if got != status {
		c.t.Fatalf("%s %s: status %d, and the CLI insists on %d\n%s", method, path, got, status, data)
	}
	return data
}

// get decodes an answer into v as strictly as the document describes it.
func (c *earlierCLI) get(path string, v any) {
	c.t.Helper()
	status, data := c.send("GET", path, "", nil)
	if status >= 399 {
		c.t.Fatalf("GET %s: status %d\n%s", path, status, data)
	}
	c.decode(path, data, v)
}

func (c *earlierCLI) decode(what string, data []byte, v any) {
	c.t.Helper()
	var raw any
	if err := json.Unmarshal(data, &raw); err != nil {
		c.t.Fatalf("%s: %v\n%s", what, err, data)
	}
	if fault := missing(reflect.TypeOf(v).Elem(), raw, what); fault != "" {
		c.t.Fatalf("%s\n%s", fault, data)
	}
	if err := json.Unmarshal(data, v); err != nil {
		c.t.Fatalf("%s: %v\n%s", what, err, data)
	}
}

// missing says which member of a struct is not in the JSON value or null without the tag null:"yes"; members with
// omitempty may be left out.
func missing(typ reflect.Type, raw any, where string) string {
	switch typ.Kind() {
	case reflect.Pointer:
		if raw == nil {
			return ""
		}
		return missing(typ.Elem(), raw, where)
	case reflect.Slice, reflect.Map:
		if raw == nil {
			return where + " is null"
		}
		switch v := raw.(type) {
		case []any:
			for i, e := range v {
				if f := missing(typ.Elem(), e, fmt.Sprintf("%s[%d]", where, i)); f != "" {
					return f
				}
			}
		case map[string]any:
			for k, e := range v {
				if f := missing(typ.Elem(), e, where+"."+k); f != "" {
					return f
				}
			}
		}
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return ""
		}
		object, ok := raw.(map[string]any)
		if !ok {
			return where + " is no object"
		}
		for f := range typ.Fields() {
			name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			value, there := object[name]
			if !there && option == "omitempty" {
				continue
			}
			if !there {
				return where + "." + name + " is missing"
			}
			if value == nil {
				if f.Tag.Get("null") == "yes" {
					continue
				}
				return where + "." + name + " is null"
			}
			if fault := missing(f.Type, value, where+"."+name); fault != "" {
				return fault
			}
		}
	}
	return ""
}

type (
	earlierInfo struct {
		AuthMethods []string `json:"authMethods"`
		Version     string   `json:"version"`
		Hostname    string   `json:"hostname"`
	}
	earlierSite struct {
		Domain    string   `json:"domain"`
		Aliases   []string `json:"aliases" null:"yes"`
		Temporary bool     `json:"temporary,omitempty"`
		TLS       struct {
			Type string `json:"type"`
			Cert string `json:"cert,omitempty"`
			Ver  string `json:"ver,omitempty"`
		} `json:"tls"`
		App *struct {
			Name string `json:"name"`
		} `json:"app" null:"yes"`
	}
	earlierApp struct {
		Name         string    `json:"name"`
		Size         int64     `json:"size"`
		LastModified time.Time `json:"lastModified"`
	}
	earlierStatus struct {
		Name  string `json:"name"`
		Nginx struct {
			Running bool `json:"running"`
		} `json:"nginx"`
		Sync struct {
			Running   bool      `json:"running"`
			LastSync  time.Time `json:"lastSync"`
			SyncError string    `json:"syncError,omitempty"`
		} `json:"sync"`
		Store struct {
			Healthy bool `json:"healthy"`
		} `json:"store"`
		Health []struct {
			Domain  string    `json:"domain"`
			App     *string   `json:"app" null:"yes"`
			Healthy bool      `json:"healthy"`
			Error   string    `json:"error,omitempty"`
			Time    time.Time `json:"time,omitempty"`
		} `json:"health"`
	}
	earlierDH struct {
		Type       string    `json:"type"`
		Date       time.Time `json:"date,omitempty"`
		Generating bool      `json:"generating"`
	}
	earlierState struct {
		Sites   []earlierSite     `json:"sites"`
		Secrets map[string]string `json:"secrets,omitempty"`
		DH      *struct {
			Time time.Time `json:"time"`
			PEM  string    `json:"pem"`
		} `json:"dhparams,omitempty"`
	}
)

// upload is "app upload": the parts name, type, file, streamed; then the metadata with an empty signature.
func (c *earlierCLI) upload(name, typ string, archive []byte) {
	c.t.Helper()
	r, w := io.Pipe()
	m := multipart.NewWriter(w)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := m.WriteField("name", name)
		if err == nil {
			err = m.WriteField("type", typ)
		}
		var part io.Writer
		if err == nil {
			part, err = m.CreatePart(textproto.MIMEHeader{
				"Content-Disposition": {`form-data; name="file"; filename="file"`}, "Content-Type": {"application/octet-stream"}})
		}
		if err == nil {
			_, err = part.Write(archive)
		}
		if err == nil {
			err = m.Close()
		}
		w.CloseWithError(err)
	}()
	status, data := c.send("POST", "/app", m.FormDataContentType(), r)
	_ = r.Close()
	<-done
	if status != 204 {
		c.t.Fatalf("app upload: status %d\n%s", status, data)
	}
	sum := sha256.Sum256(archive)
	c.insist(204, "POST", "/app/"+name, `{"signature":"","hash":"`+base64.StdEncoding.EncodeToString(sum[:])+`"}`)
}

// The whole of what the earlier program's CLI does, against a real node.
func TestEarlierCLI_ManagesARealNode(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%t", http2), func(t *testing.T) {
			t.Parallel()
			n, _ := startNode(t, "temporarySites.domain=preview.example.org")
			c := newEarlierCLI(t, n, http2)

			// auth psk, with a wrong key and the right one
			var info earlierInfo
			c.get("/info", &info)
			if strings.Join(info.AuthMethods, " ") != "psk" || info.Hostname != "edge-1" {
				t.Errorf("info: %+v", info)
			}
			c.key = "wrong"
			c.insist(401, "GET", "/site", "")
			c.key = n.PSK
			var sites []earlierSite
			if c.get("/site", &sites); len(sites) != 0 {
				t.Errorf("site list: %+v", sites)
			}

			// certificate add, list
			cert, key, err := certs.SelfSigned(certs.Request{Names: []string{"docs.example.org", "www.docs.example.org"}})
			if err != nil {
				t.Fatal(err)
			}
			body, err := json.Marshal(map[string]any{"name": "wildcard-2020", "cert": string(cert), "key": string(key), "force": false})
			if err != nil {
				t.Fatal(err)
			}
			c.insist(204, "POST", "/certificate", string(body))
			var names []string
			if c.get("/certificate", &names); strings.Join(names, " ") != "wildcard-2020" {
				t.Errorf("certificate list: %v", names)
			}

			// site add, list, get by an alias and in any letter case, set (always with tls), with names unescaped
			site := func(data []byte) (s earlierSite) {
				t.Helper()
				c.decode("site", data, &s)
				return s
			}
			s := site(c.insist(200, "POST", "/site", `{"domain":"docs.example.org","aliases":["www.docs.example.org"],"tls":{"type":"imported","cert":"wildcard-2020"}}`))
			if s.TLS.Type != "imported" || s.TLS.Cert != "wildcard-2020" || s.App != nil {
				t.Errorf("site add: %+v", s)
			}
			if s := site(c.insist(200, "POST", "/site", `{"domain":"bücher.example.org","aliases":null,"temporary":false,"tls":{"type":"selfsigned"}}`)); s.Domain != "xn--bcher-kva.example.org" {
				t.Errorf("site add: %+v", s)
			}
			c.get("/site/bücher.example.org", &s)
			c.get("/site/WWW.docs.example.org", &s)
			if s := site(c.insist(200, "PATCH", "/site/docs.example.org", `{"tls":{"type":"selfsigned"}}`)); s.TLS.Type != "selfsigned" || len(s.Aliases) != 1 {
				t.Errorf("site set: %+v", s)
			}
			if s := site(c.insist(200, "PATCH", "/site/docs.example.org", `{"aliases":["a.example.org"],"tls":{"type":"akv","cert":"NAME","ver":"1"}}`)); s.TLS.Ver != "1" {
				t.Errorf("site set: %+v", s)
			}
			site(c.insist(200, "PATCH", "/site/docs.example.org", `{"tls":{"type":"selfsigned"}}`))
			if s := site(c.insist(200, "POST", "/site", `{"domain":"","temporary":true,"tls":{"type":"selfsigned"}}`)); !s.Temporary || !strings.HasSuffix(s.Domain, ".preview.example.org") {
				t.Errorf("site add -t: %+v", s)
			}
			if c.get("/site", &sites); len(sites) != 3 {
				t.Errorf("site list: %+v", sites)
			}

			// app upload, list; deploy; what is served
			c.upload("docs-42", "zip", cluster.Zip(map[string][]byte{"index.html": []byte("hello"), "a/b/c.txt": []byte("deep")}))
			var apps []earlierApp
			if c.get("/app", &apps); len(apps) != 1 || apps[0].Size == 0 || apps[0].LastModified.IsZero() {
				t.Errorf("app list: %+v", apps)
			}
			c.insist(204, "POST", "/site/docs.example.org/app", `{"name":"docs-42"}`)
			c.insist(204, "POST", "/sync", "")
			var status earlierStatus
			if err := cluster.Poll(20*time.Second, "wait as the CLI's users do", func() error {
				if c.get("/status", &status); status.Sync.Running || len(status.Health) != 3 {
					return fmt.Errorf("%+v", status)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			v := cluster.Visit(t, n)
			if p := v.MustGet(t, 200, "https://docs.example.org/a/b/c.txt"); string(p.Body) != "deep" {
				t.Errorf("served: %s", p.Body)
			}

			// status, cluster status; lastSync is never null
			for _, path := range []string{"/status?force=1", "/status/docs.example.org", "/status/a.example.org?force=1"} {
				if c.get(path, &status); status.Name != "edge-1" || !status.Nginx.Running || !status.Store.Healthy || status.Sync.LastSync.IsZero() {
					t.Errorf("%s: %+v", path, status)
				}
			}
			c.insist(404, "GET", "/status/none.example.org", "")
			cluster := map[string]earlierStatus{}
			if c.get("/clusterstatus", &cluster); len(cluster) != 1 {
				t.Errorf("cluster status: %+v", cluster)
			}

			// dhparams get, set
			var dh earlierDH
			if c.get("/dhparams", &dh); dh.Type != "builtin" && dh.Type != "cluster" {
				t.Errorf("dhparams get: %+v", dh)
			}
			text, err := json.Marshal(map[string]string{"dhparams": string(dhparams.Builtin(3072).PEM())})
			if err != nil {
				t.Fatal(err)
			}
			c.insist(204, "POST", "/dhparams", string(text))
			if c.get("/dhparams", &dh); dh.Type != "cluster" || dh.Date.IsZero() {
				t.Errorf("dhparams get: %+v", dh)
			}

			// state get, state set from standard input, of unknown length
			var doc earlierState
			_, document := c.send("GET", "/state", "", nil)
			if c.decode("state", document, &doc); len(doc.Sites) != 3 || len(doc.Secrets) == 0 || doc.DH == nil {
				t.Errorf("state get: %s", document)
			}
			c.insist(204, "DELETE", "/site/docs.example.org", "")
			got, data := c.send("POST", "/state", "application/json", io.MultiReader(strings.NewReader(string(document[:10])), strings.NewReader(string(document[10:]))))
			if got != 204 {
				t.Fatalf("state set: status %d\n%s", got, data)
			}
			c.get("/site/docs.example.org", &s)
			if s.App == nil || s.App.Name != "docs-42" {
				t.Errorf("after state set: %+v", s)
			}

			// removals
			c.insist(204, "DELETE", "/site/docs.example.org", "")
			c.insist(204, "DELETE", "/app/docs-42", "")
			c.insist(204, "DELETE", "/certificate/wildcard-2020", "")
			c.insist(404, "DELETE", "/site/docs.example.org", "")
		})
	}
}
