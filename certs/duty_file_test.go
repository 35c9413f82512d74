package certs

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"statiko/filestore"
	"statiko/state"
)

func openFile(t testing.TB) state.Store {
	t.Helper()
	s, err := filestore.Open(filestore.Options{Path: filepath.Join(t.TempDir(), "state.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func startDuty(t testing.TB, s state.Store) {
	t.Helper()
	d, err := NewDuty(DutyOptions{Store: s, Keyring: ring(t, testKey)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, &testFence{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// putSites stores n sites in updates of 25.
func putSites(t testing.TB, s state.Store, from, n int) {
	t.Helper()
	for i := 0; i < n; i += 25 {
		_, err := s.Update(t.Context(), func(d *state.Draft) error {
			for j := i; j < min(i+25, n); j++ {
				if err := d.Put(plain(fmt.Sprintf("s%d.test", from+j))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// waitPairs waits until there are n pairs.
func waitPairs(t testing.TB, s state.Store, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for snap := s.Snapshot(); snap.Len(state.KindSecret) < n; {
		var err error
		if snap, err = s.Wait(ctx, snap.Revision()); err != nil {
			t.Fatalf("%d of %d pairs: %v", s.Snapshot().Len(state.KindSecret), n, err)
		}
	}
}

// W58: the earlier program takes 4 to 5 seconds a certificate.
func TestW58_ManyCertificatesOnAFile(t *testing.T) {
	s := openFile(t)
	startDuty(t, s)
	began := time.Now()
	putSites(t, s, 0, 200)
	waitPairs(t, s, 200)
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("200 certificates took %v", d)
	}
}

// BenchmarkDuty_File makes the pairs of 1,000 sites on a real file.
func BenchmarkDuty_File(b *testing.B) {
	const sites = 1000
	var took time.Duration
	for range b.N {
		b.StopTimer()
		s := openFile(b)
		putSites(b, s, 0, sites)
		b.StartTimer()
		began := time.Now()
		startDuty(b, s)
		waitPairs(b, s, sites)
		took += time.Since(began)
	}
	b.ReportMetric(float64(sites*b.N)/took.Seconds(), "certificates/s")
}

// BenchmarkDuty_OneMore measures from one more site to its pair, among few and among many.
func BenchmarkDuty_OneMore(b *testing.B) {
	for _, sites := range []int{100, 20000} {
		b.Run(fmt.Sprint(sites), func(b *testing.B) {
			s := openFile(b)
			putSites(b, s, 0, sites)
			startDuty(b, s)
			waitPairs(b, s, sites)
			var took []time.Duration
			b.ResetTimer()
			for i := range b.N {
				began := time.Now()
				putSites(b, s, sites+i, 1)
				waitPairs(b, s, sites+i+1)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
		})
	}
}
