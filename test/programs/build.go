package programs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// Built returns the path of a Go program of the module in test/<module>, of the version that it requires. It is built
// if nobody did before.
func Built(module, name, pkg string) (string, error) {
	folder, err := folder(module)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(`(?m)\b(\S+) (v\S+)`)
	for _, m := range version.FindAllStringSubmatch(string(text), -1) {
		if pkg == m[1] || strings.HasPrefix(pkg, m[1]+"/") {
			return once(name+"-"+m[2], func(path string) *exec.Cmd {
				c := exec.Command("go", "build", "-o", path, pkg)
				c.Dir = folder
				return c
			})
		}
	}
	return "", fmt.Errorf("%s does not require a module of %s", folder, pkg)
}

// Installed returns the folder with a package for Node.js that test/<module>/package.json names, in its version, and
// with what that needs. It is installed, without running its scripts, if nobody did before.
func Installed(module, name string) (string, error) {
	folder, err := folder(module)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(folder, "package.json"))
	if err != nil {
		return "", err
	}
	var wanted struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &wanted); err != nil {
		return "", err
	}
	version := wanted.Dependencies[name]
	if version == "" {
		return "", fmt.Errorf("%s names no %s", folder, name)
	}
	return once(name+"-"+version, func(path string) *exec.Cmd {
		return exec.Command("npm", "install", "--prefix", path, "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier",
			"--no-save", name+"@"+version)
	})
}

// folder returns the path of test/<module>.
func folder(module string) (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "test", module), nil
}

// once returns the path of something in the cache, which the command makes unless it is there. Tests of several
// packages run at the same time, and only one of them makes it.
func once(name string, command func(path string) *exec.Cmd) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	path := filepath.Join(cache, "statiko-test", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	for {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.RemoveAll(path + ".new"); err != nil {
		return "", err
	}
	c := command(path + ".new")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, out)
	}
	return path, os.Rename(path+".new", path)
}
