package etcdtest

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"statiko/test/programs"
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
	return programs.Built("etcd", "etcd", serverPackage)
})

var tool = sync.OnceValues(func() (string, error) { return programs.Built("etcd", "etcdutl", toolPackage) })

// Older returns the path of an older etcd server, of the module in test/etcd35 ("3.5") or test/etcd36 ("3.6").
func Older(t testing.TB, version string) string {
	t.Helper()
	path, err := programs.Built("etcd"+strings.ReplaceAll(version, ".", ""), "etcd", serverPackage)
	if err != nil {
		t.Fatalf("etcd's server %s: %v", version, err)
	}
	return path
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
