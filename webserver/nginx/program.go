package nginx

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// program is an nginx as it is installed.
type program struct {
	path    string
	version version
	// flags are those that it was built with.
	flags string
}

type version [3]int

func (v version) atLeast(w ...int) bool {
	for i, n := range w {
		if v[i] != n {
			return v[i] > n
		}
	}
	return true
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

var versionForm = regexp.MustCompile(`nginx version: [^/\s]+/(\d+)\.(\d+)\.(\d+)`)

// Find returns the path of the nginx that is used if none is named, or an error that says what to do.
func Find() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/nginx/sbin/nginx", "/opt/nginx/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("nginx is not installed, or not in the PATH: install it, for instance with apt-get install nginx-light")
}

// inspect asks an nginx for its version and flags.
func inspect(path string) (program, error) {
	p := program{path: path}
	out, err := run(context.Background(), 10*time.Second, exec.Command(path, "-V"), path+" -V")
	if err != nil {
		return p, err
	}
	g := versionForm.FindStringSubmatch(out.stderr)
	if g == nil {
		return p, fmt.Errorf("%s -V does not say a version of nginx", path)
	}
	for i := range p.version {
		p.version[i], _ = strconv.Atoi(g[i+1])
	}
	p.flags = out.stderr
	if !p.version.atLeast(1, 18) {
		return p, fmt.Errorf("%s is nginx %v; 1.18 or newer is needed", path, p.version)
	}
	if !strings.Contains(p.flags, "--with-http_ssl_module") {
		return p, fmt.Errorf("%s was built without TLS (--with-http_ssl_module)", path)
	}
	return p, nil
}

// unusedTemp are the modules that would use temporary folders of the system if not told otherwise.
func (p program) unusedTemp() []string {
	var names []string
	for _, name := range []string{"fastcgi", "uwsgi", "scgi"} {
		if !strings.Contains(p.flags, "--without-http_"+name+"_module") {
			names = append(names, name)
		}
	}
	return names
}
