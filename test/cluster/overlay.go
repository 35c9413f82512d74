package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildWith is [Build] with other contents of source files, by their paths.
func buildWith(folder string, contents map[string]string, flags ...string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	replace := map[string]string{}
	for target, content := range contents {
		path := filepath.Join(folder, filepath.Base(target)+".txt")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
		replace[target] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return err
	}
	return Build(folder, append(flags, "-overlay="+file)...)
}

// BuildNewer is [Build] of programs whose version of the state is the next one: what they begin in etcd, the programs of this
// tree can read and must not change.
func BuildNewer(folder string, flags ...string) error {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "statiko/etcdstore").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(dir)), "head.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	newer := string(text)
	for old, new := range map[string]string{
		"const version = 1\n":  "const version = 2\n",
		"MinReader: version, ": "MinReader: version - 1, ",
	} {
		if strings.Count(newer, old) != 1 {
			return fmt.Errorf("%s does not have %q once", original, old)
		}
		newer = strings.Replace(newer, old, new, 1)
	}
	return buildWith(folder, map[string]string{original: newer}, flags...)
}
