package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// binFolder is where the programs are built; TestMain sets it.
var binFolder string

// programs builds both programs, once for all tests, with the race detector, and returns their folder.
var programs = sync.OnceValues(func() (string, error) {
	for name, pkg := range map[string]string{"statiko": "statiko/cmd/node", "stkcli": "statiko/cmd/stkcli"} {
		build := exec.Command("go", "build", "-race", "-o", filepath.Join(binFolder, name), pkg)
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return binFolder, nil
})

func TestMain(m *testing.M) {
	if os.Getenv(loopbackOnly) != "" {
		// This process was started to become a shell in a network of its own; see documentation_test.go.
		fmt.Fprintln(os.Stderr, becomeShell())
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
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// soak tells whether the long forms of the tests are wanted.
func soak() bool { return os.Getenv("STATIKO_SOAK") == "1" }
