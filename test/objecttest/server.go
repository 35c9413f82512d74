package objecttest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"statiko/test/programs"
)

// Server is an object store with data in a folder of its own.
type Server struct {
	name, folder, address string
	port                  int
	tls                   bool
	// saves tells that the server loses data if it is not asked to end.
	saves   bool
	program string
	args    []string
	process *programs.Process
}

// startTimeout is how long a server may take to answer on a machine that is busy.
const startTimeout = 60 * time.Second

// Address returns the server's host:port.
func (s *Server) Address() string { return s.address }

// Folder returns the folder with the server's data.
func (s *Server) Folder() string { return s.folder }

// Proxy returns a proxy of the server, which ends with the test.
func (s *Server) Proxy(t testing.TB) *programs.Proxy {
	t.Helper()
	return programs.NewProxy(t, s.address)
}

// Kill ends the server at once, as a crash does; Azurite in its own way, as it writes down only every few seconds what it
// acknowledged.
func (s *Server) Kill() {
	if s.process != nil {
		if s.saves {
			s.process.End()
		} else {
			s.process.Kill()
		}
		s.process = nil
	}
}

// Stop freezes the server: its connections stay open and nobody answers.
func (s *Server) Stop(t testing.TB) { t.Helper(); s.process.Stop(t) }

// Cont ends what Stop began.
func (s *Server) Cont(t testing.TB) { t.Helper(); s.process.Cont(t) }

// Start starts the server after Kill, at the same address with the same data, and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("start %s: %v", s.name, err)
	}
}

func (s *Server) log() string { return s.folder + ".log" }

func (s *Server) start() (err error) {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.folder}
	if s.process, err = programs.Start(s.log(), env, s.program, s.args...); err != nil {
		return err
	}
	if err := s.await(); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// await waits until the server answers anything.
func (s *Server) await() error {
	scheme := "http"
	if s.tls {
		scheme = "https"
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it is only asked whether it is there
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	deadline := time.Now().Add(startTimeout)
	for {
		r, err := client.Get(scheme + "://" + s.address + "/")
		if err == nil {
			err = r.Body.Close()
			if s.process.Listens(s.port) {
				return err
			}
			err = errors.New("another program has the port")
		}
		if s.process.Ended() {
			return fmt.Errorf("it ended: %s", programs.LastLog(s.log(), 5))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// launch starts a server below a folder, on another port if somebody has taken one in between.
func launch(below, name, program string, overTLS bool, args func(folder, host, port string) []string) (*Server, error) {
	var last error
	for range 5 {
		ports, err := programs.FreePorts(1)
		if err != nil {
			return nil, err
		}
		folder, err := os.MkdirTemp(below, name+"-")
		if err != nil {
			return nil, err
		}
		port := fmt.Sprint(ports[0])
		s := &Server{name: name, folder: folder, address: net.JoinHostPort("127.0.0.1", port), port: ports[0], tls: overTLS, program: program,
			args: args(filepath.Clean(folder), "127.0.0.1", port)}
		if last = s.start(); last == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("start %s: %w", name, last)
}

// endWith ends the server with the test, and shows its log if the test failed.
func (s *Server) endWith(t testing.TB) {
	t.Cleanup(func() {
		s.saves = false
		s.Kill()
		if t.Failed() {
			t.Logf("the log of %s ends with:\n%s", s.name, programs.LastLog(s.log(), 8))
		}
	})
}

// Pair has the files of a certificate and its key, in PEM; empty for no TLS.
type Pair struct{ Certificate, Key string }
