package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"statiko/test/cluster"
)

// binFolder is below which the programs are built; TestMain sets it.
var binFolder string

// allScenes are the totals of this process, which prints them at its end.
var allScenes Totals

// built returns the folder of the programs, built once with the race detector.
func built(t testing.TB) string {
	t.Helper()
	dir, err := programs()
	cluster.Must(t, err)
	return dir
}

var programs = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(binFolder, "race")
	return dir, cluster.Build(dir, "-race")
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "statiko-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binFolder = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		fmt.Println("all scenarios:", &allScenes)
		os.Exit(code)
	}))
}
