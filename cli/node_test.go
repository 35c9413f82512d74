package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"statiko/api"
)

// scriptedNode answers as a file says and writes down what it was sent.
type scriptedNode struct {
	mu      sync.Mutex
	answers []scriptedAnswer
	old     bool
	log     []string
	dir     string
}

// scriptedAnswer is one line of the file:
//
//	METHOD URI STATUS [HEADER=VALUE] [BODY]
//
// It is used once, unless no later one is for the same method and URI.
type scriptedAnswer struct {
	method, uri string
	status      int
	header      [2]string
	body        string
}

func parseAnswers(text string) ([]scriptedAnswer, error) {
	var answers []scriptedAnswer
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, " ", 4)
		if len(f) < 3 {
			return nil, fmt.Errorf("answer %q", line)
		}
		status, err := strconv.Atoi(f[2])
		if err != nil {
			return nil, err
		}
		a := scriptedAnswer{method: f[0], uri: f[1], status: status}
		if len(f) == 4 {
			a.body = f[3]
			first, rest, _ := strings.Cut(f[3], " ")
			if name, value, ok := strings.Cut(first, "="); ok && !strings.ContainsAny(first, `{["<`) {
				a.header, a.body = [2]string{name, value}, rest
			}
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func (n *scriptedNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	line := fmt.Sprintf("%s %s auth=%q", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"))
	if body := n.body(r); body != "" {
		line += " " + body
	}
	n.mu.Lock()
	n.log = append(n.log, line)
	answer := scriptedAnswer{status: 500, body: `{"error":"the script has no answer"}`}
	for i, a := range n.answers {
		if a.method != r.Method || a.uri != r.URL.RequestURI() {
			continue
		}
		answer = a
		for _, later := range n.answers[i+1:] {
			if later.method == a.method && later.uri == a.uri {
				n.answers = append(n.answers[:i:i], n.answers[i+1:]...)
				break
			}
		}
		break
	}
	n.mu.Unlock()
	if !n.old {
		w.Header().Set(api.HeaderRevision, "1")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if answer.header[0] != "" {
		w.Header().Set(answer.header[0], answer.header[1])
	}
	w.WriteHeader(answer.status)
	if answer.status != 204 {
		_, _ = io.WriteString(w, answer.body+"\n")
	}
}

// body reads the request's body; the file of an upload is kept as "uploaded".
func (n *scriptedNode) body(r *http.Request) string {
	mediaType, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != "multipart/form-data" {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return "broken: " + err.Error()
		}
		if len(b) > 0 && mediaType != "application/json" {
			return "type " + mediaType
		}
		return strings.TrimSpace(string(b))
	}
	var parts []string
	if r.ContentLength != -1 {
		parts = append(parts, "with a length")
	}
	for m := multipart.NewReader(r.Body, params["boundary"]); ; {
		p, err := m.NextPart()
		if err == io.EOF {
			return strings.Join(parts, " ")
		}
		if err != nil {
			return "broken"
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return "broken"
		}
		if p.FormName() == "file" {
			if err := os.WriteFile(filepath.Join(n.dir, "uploaded"), b, 0o600); err != nil {
				return err.Error()
			}
			b = []byte("…")
		}
		parts = append(parts, p.FormName()+"="+string(b))
	}
}

func (n *scriptedNode) takeLog() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.log
	n.log = nil
	return l
}

// certificate is one that no machine trusts, for a new key.
func certificate() (tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "statiko node"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, api.PinOf(leaf), err
}

// startNode is the script's command node. With -newkey the node has another key but the same address.
func startNode(ts *testscript.TestScript, _ bool, args []string) {
	n := &scriptedNode{dir: ts.Getenv("WORK")}
	s := httptest.NewUnstartedServer(n)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients hang up after looking at the certificate
	plain, again := false, false
	for _, arg := range args[:len(args)-1] {
		plain, n.old, again = plain || arg == "-http", n.old || arg == "-old", again || arg == "-newkey"
	}
	var err error
	n.answers, err = parseAnswers(ts.ReadFile(args[len(args)-1]))
	ts.Check(err)
	if again {
		worldOf(ts).stop()
		s.Listener.Close()
		s.Listener, err = net.Listen("tcp", ts.Getenv("NODE"))
		ts.Check(err)
	}
	if plain {
		s.Start()
	} else {
		cert, pin, err := certificate()
		ts.Check(err)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.EnableHTTP2 = true
		s.StartTLS()
		ts.Setenv("PIN", pin)
	}
	ts.Defer(s.Close)
	worldOf(ts).node, worldOf(ts).stop = n, s.Close
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	ts.Check(err)
	ts.Setenv("NODE", s.Listener.Addr().String())
	ts.Setenv("HOST", host)
	ts.Setenv("PORT", port)
}
