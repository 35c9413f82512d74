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
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	config  atomic.Pointer[tls.Config]
}

// scriptedAnswer is one line of the file:
//
//	METHOD URI STATUS [HEADER=VALUE...] [BODY]
//
// It is used once, unless no later one is for the same method and URI.
type scriptedAnswer struct {
	method, uri string
	status      int
	header      [][2]string
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
			for a.body != "" {
				first, rest, _ := strings.Cut(a.body, " ")
				name, value, ok := strings.Cut(first, "=")
				if !ok || strings.ContainsAny(first[:1], `{["<`) {
					break
				}
				a.header, a.body = append(a.header, [2]string{name, value}), rest
			}
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func (n *scriptedNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	line := fmt.Sprintf("%s %s auth=%q", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"))
	if key := r.Header.Get(api.HeaderSourceKey); key != "" {
		line += fmt.Sprintf(" key=%q", key)
	}
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
	for _, h := range answer.header {
		w.Header().Set(h[0], h[1])
		if h[0] == api.HeaderWaiting {
			w.Header().Set(api.HeaderApplied, "false")
		}
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

// startNode is the script's command node. With -newkey the node that runs gets another key.
func startNode(ts *testscript.TestScript, _ bool, args []string) {
	answers, err := parseAnswers(ts.ReadFile(args[len(args)-1]))
	ts.Check(err)
	flags := args[:len(args)-1]
	if slices.Contains(flags, "-newkey") {
		ts.Setenv("PIN", worldOf(ts).node.newKey(ts))
		return
	}
	n := &scriptedNode{dir: ts.Getenv("WORK"), answers: answers, old: slices.Contains(flags, "-old")}
	s := httptest.NewUnstartedServer(n)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients hang up after looking at the certificate
	if slices.Contains(flags, "-http") {
		s.Start()
	} else {
		ts.Setenv("PIN", n.newKey(ts))
		s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return n.config.Load(), nil }}
		s.EnableHTTP2 = true
		s.StartTLS()
	}
	ts.Defer(s.Close)
	worldOf(ts).node = n
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	ts.Check(err)
	ts.Setenv("NODE", s.Listener.Addr().String())
	ts.Setenv("HOST", host)
	ts.Setenv("PORT", port)
}

// newKey gives the node a key and certificate, and returns the key's pin.
func (n *scriptedNode) newKey(ts *testscript.TestScript) string {
	cert, pin, err := certificate()
	ts.Check(err)
	n.config.Store(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
	return pin
}
