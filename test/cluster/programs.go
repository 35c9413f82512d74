package cluster

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds both programs into the folder, with flags of "go build" such as -race. They have no tables for debuggers,
// which would take most of the time.
func Build(folder string, flags ...string) error {
	for name, pkg := range map[string]string{"statiko": "statiko/cmd/node", "stkcli": "statiko/cmd/stkcli"} {
		args := append(append([]string{"build", "-ldflags=-s -w"}, flags...), "-o", filepath.Join(folder, name), pkg)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}
