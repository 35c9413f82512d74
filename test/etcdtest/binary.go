package etcdtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// envBinary names a binary of etcd to use instead of the one that is built.
const envBinary = "STATIKO_TEST_ETCD"

// Programs in the module in test/etcd.
const (
	serverPackage = "go.etcd.io/etcd/server/v3"
	toolPackage   = "go.etcd.io/etcd/etcdutl/v3"
)

// Binary returns the path of etcd's server, which is built if nobody did before.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("etcd's server: %v", err)
	}
	return path
}

// Foreign tells whether another server than the one built from the module in test/etcd is used.
func Foreign() bool { return os.Getenv(envBinary) != "" }

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(envBinary); path != "" {
		return path, nil
	}
	return built("etcd", "etcd", serverPackage)
})

var tool = sync.OnceValues(func() (string, error) { return built("etcd", "etcdutl", toolPackage) })

// Older returns the path of an older etcd server, of the module in test/etcd35 ("3.5") or test/etcd36 ("3.6").
func Older(t testing.TB, version string) string {
	t.Helper()
	path, err := built("etcd"+strings.ReplaceAll(version, ".", ""), "etcd", serverPackage)
	if err != nil {
		t.Fatalf("etcd's server %s: %v", version, err)
	}
	return path
}

// built returns the path of a program of a module in test/, which is kept in the user's cache.
func built(module, name, pkg string) (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	folder := filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "test", module)
	text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(regexp.QuoteMeta(pkg) + ` (v\S+)`).FindSubmatch(text)
	if version == nil {
		return "", fmt.Errorf("%s does not require %s", folder, pkg)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "statiko-test")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	return build(folder, pkg, filepath.Join(cache, name+"-"+string(version[1])))
}

// build makes the program unless it is there. Tests of several packages run at the same time, and only one of them
// builds.
func build(folder, pkg, path string) (string, error) {
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
	c := exec.Command("go", "build", "-o", path+".new", pkg)
	c.Dir = folder
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return path, os.Rename(path+".new", path)
}

// help is what the binary says about its flags.
var help = sync.OnceValue(func() string {
	path, err := binary()
	if err != nil {
		return ""
	}
	// Some versions exit with an error after their help.
	out, _ := exec.Command(path, "--help").CombinedOutput()
	return string(out)
})

// Supports tells whether the server that is used knows a flag, such as "unsafe-no-fsync".
func Supports(flag string) bool { return strings.Contains(help(), "--"+flag+" ") }
