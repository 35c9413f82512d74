package filestore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"statiko/state"
)

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "state.json") }

func writeText(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readText(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func siteOf(domain string, aliases ...string) *state.Site {
	return &state.Site{Domain: domain, Aliases: aliases, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
}

func mustPut(t testing.TB, s *Store, objects ...state.Object) int64 {
	t.Helper()
	revision, err := tryPut(s, objects...)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func tryPut(s *Store, objects ...state.Object) (int64, error) {
	return s.Update(context.Background(), func(d *state.Draft) error {
		for _, o := range objects {
			if err := d.Put(o); err != nil {
				return err
			}
		}
		return nil
	})
}

// domains returns the sites' domains, joined by blanks.
func domains(s *state.Snapshot) string {
	var all []string
	for site := range s.Sites() {
		all = append(all, site.Domain)
	}
	return strings.Join(all, " ")
}

func wantDomains(t testing.TB, s *Store, want string) {
	t.Helper()
	if got := domains(s.Snapshot()); got != want {
		t.Fatalf("the sites are %q, want %q", got, want)
	}
}

// fold folds now.
func fold(t testing.TB, s *Store) {
	t.Helper()
	if _, err := s.do(context.Background(), &request{}); err != nil {
		t.Fatalf("fold: %v", err)
	}
}

// killed returns a copy of the files as they are, which is what a killed process leaves.
func killed(t testing.TB, path string) string {
	t.Helper()
	copied := newPath(t)
	for _, suffix := range []string{"", ".journal"} {
		data, err := os.ReadFile(path + suffix)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		writeText(t, copied+suffix, string(data))
	}
	return copied
}

// quietly are options under which nothing is folded or looked at but on purpose.
func quietly(path string) Options {
	return Options{Path: path, FoldAfter: time.Hour, checkEvery: time.Hour}
}

func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %v", err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// observed returns a logger and a function that tells whether something was logged that contains the text.
func observed() (*zap.Logger, func(text string) bool) {
	core, logs := observer.New(zap.DebugLevel)
	return zap.New(core), func(text string) bool {
		for _, e := range logs.All() {
			if strings.Contains(fmt.Sprint(e.Message, " ", e.ContextMap()), text) {
				return true
			}
		}
		return false
	}
}
