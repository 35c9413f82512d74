package filestore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/state"
)

// childArgument makes the test's own program a process that changes the state until it is killed.
const childArgument = "-filestore.child="

// childMain runs the child process, if that is what this process is.
func childMain() bool {
	if len(os.Args) != 3 || !strings.HasPrefix(os.Args[1], childArgument) {
		return false
	}
	path, fsys := strings.TrimPrefix(os.Args[1], childArgument), &faultFS{}
	s, err := Open(Options{Path: path, FoldAfter: time.Millisecond, FoldBytes: 4000, FS: fsys})
	if err != nil {
		fmt.Println("error", err)
		return true
	}
	fmt.Println("open", s.Snapshot().Revision())
	var mu sync.Mutex
	fsys.set(func(op, name string) error {
		if op == "rename" && name == path {
			mu.Lock()
			defer mu.Unlock()
			fmt.Println("folded")
		}
		return nil
	})
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				domain := fmt.Sprintf("r%s-w%d-%d.test", os.Args[2], w, i)
				revision, err := s.Update(context.Background(), func(d *state.Draft) error { return d.Put(siteOf(domain, "www."+domain)) })
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println("stored", domain, revision)
				}
				mu.Unlock()
				if w == 0 {
					// A fold runs beside the others' changes nearly all the time.
					_, _ = s.do(context.Background(), &request{begin: true})
				}
			}
		}()
	}
	select {}
}

// What a process that is killed at any moment, folding or not, had acknowledged is there, and it can be opened at once.
func TestKill_AcknowledgedIsKept(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	acknowledged, revision := map[string]bool{}, int64(0)
	rounds, folds, halves := 12, 0, 0
	if os.Getenv("STATIKO_SOAK") == "1" {
		rounds = 20
	}
	for round := range rounds {
		child := exec.Command(self, childArgument+path, strconv.Itoa(round))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// It is killed after so many acknowledgements, in the middle of whatever it does then.
		left := 1 + 7*round
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			words := strings.Fields(scanner.Text())
			switch words[0] {
			case "error":
				t.Errorf("round %d: %s", round, scanner.Text())
			case "open":
				if now, _ := strconv.ParseInt(words[1], 10, 64); now < revision {
					t.Errorf("round %d: revision %d after %d", round, now, revision)
				}
			case "stored":
				acknowledged[words[1]] = true
				now, _ := strconv.ParseInt(words[2], 10, 64)
				revision = max(revision, now)
				left--
			case "folded":
				folds++
			}
			if left == 0 || t.Failed() {
				if err := child.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		_ = child.Wait()
		// What it leaves half-written tells that it was folding.
		for _, suffix := range []string{suffixFold, suffixJournal} {
			if _, err := os.Stat(path + suffix); err == nil {
				halves++
				break
			}
		}
		s, err := Open(quietly(killed(t, path)))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for domain := range acknowledged {
			if site, ok := s.Snapshot().Site("www." + domain); !ok || site.Domain != domain {
				t.Fatalf("round %d: %s was acknowledged and is missing", round, domain)
			}
		}
		s.Close()
	}
	t.Logf("%d sites acknowledged over %d kills, %d of them in the middle of one of %d folds", len(acknowledged), rounds, halves, folds)
	if folds == 0 || halves < 3 {
		t.Errorf("%d folds, %d of %d kills in the middle of one: they hardly met", folds, halves, rounds)
	}
}
