package test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"statiko/test/cluster"
)

// binFolder is below which the programs are built; TestMain sets it.
var binFolder string

// racePrograms builds both programs, once for all tests, with the race detector, and returns their folder.
var racePrograms = sync.OnceValues(func() (string, error) { return build("race", "-race") })

// fastPrograms are the same without the race detector, for tests in which a lot is compressed or measured.
var fastPrograms = sync.OnceValues(func() (string, error) { return build("fast") })

func build(folder string, flags ...string) (string, error) {
	dir := filepath.Join(binFolder, folder)
	return dir, cluster.Build(dir, flags...)
}

func TestMain(m *testing.M) {
	if os.Getenv(loopbackOnly) != "" {
		// This process was started to become a shell in a network of its own; see documentation_test.go.
		fmt.Fprintln(os.Stderr, becomeShell())
		os.Exit(1)
	}
	// Most of these tests wait for other processes most of the time.
	if err := flag.Set("test.parallel", strconv.Itoa(max(3, runtime.GOMAXPROCS(0)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "statiko-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binFolder = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// built returns the folder of the programs.
func built(t testing.TB) string {
	t.Helper()
	dir, err := racePrograms()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// builtFast returns the folder of the programs without the race detector.
func builtFast(t testing.TB) string {
	t.Helper()
	dir, err := fastPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// soak tells whether the long forms of the tests are wanted.
func soak() bool { return os.Getenv("STATIKO_SOAK") == "1" }
