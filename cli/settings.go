package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"statiko/api"
)

// settings say which node to talk to, and how, before the flags.
type settings struct {
	Node     string `json:"node" yaml:"node"`
	Port     int    `json:"port" yaml:"port"`
	Insecure bool   `json:"insecure" yaml:"insecure"`
	HTTP     bool   `json:"http" yaml:"http"`
}

// builtinSettings apply where neither file, environment nor flags say anything.
func builtinSettings() settings { return settings{Node: "localhost", Port: api.DefaultPort} }

// folder returns the folder of stkcli's own files.
func (a *app) folder() (string, error) {
	if dir := a.Getenv("STKCLI_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	if a.Home == "" {
		return "", localError(nil, "there is no home folder").withHint("set HOME, or STKCLI_HOME to a folder for stkcli's files")
	}
	return filepath.Join(a.Home, ".stkcli"), nil
}

func (a *app) file(name string) (string, error) {
	dir, err := a.folder()
	return filepath.Join(dir, name), err
}

// readSettings returns what the file says, on top of what is built in.
func (a *app) readSettings() (settings, error) {
	s := builtinSettings()
	path, err := a.file("config.yaml")
	if err != nil {
		return s, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, localError(err, "could not read stkcli's settings")
	}
	if err := yaml.Unmarshal(b, &s); err != nil {
		return s, localError(err, "%s cannot be read", path).withHint("repair the file, or remove it and use stkcli defaults")
	}
	return s, nil
}

// effective returns the settings that apply before the flags: those of the file, then of the environment.
func (a *app) effective() (settings, error) {
	if a.settings != nil {
		return *a.settings, nil
	}
	s, err := a.readSettings()
	if err != nil {
		return s, err
	}
	if v := a.Getenv("STKCLI_NODE"); v != "" {
		s.Node = v
	}
	if v := a.Getenv("STKCLI_PORT"); v != "" {
		if s.Port, err = strconv.Atoi(v); err != nil {
			return s, userError("STKCLI_PORT is %q, which is not a port", v)
		}
	}
	for name, field := range map[string]*bool{"STKCLI_INSECURE": &s.Insecure, "STKCLI_HTTP": &s.HTTP} {
		if err := parseSwitch(a.Getenv(name), field); err != nil {
			return s, userError("%s is %v", name, err)
		}
	}
	a.settings = &s
	return s, nil
}

// parseSwitch reads an environment variable that is on or off.
func parseSwitch(text string, field *bool) error {
	switch strings.ToLower(text) {
	case "":
	case "1", "t", "true", "y", "yes", "on":
		*field = true
	case "0", "f", "false", "n", "no", "off":
		*field = false
	default:
		return fmt.Errorf("%q: true or false is expected", text)
	}
	return nil
}

// target is a node to talk to.
type target struct {
	host     string
	port     int
	insecure bool
	http     bool
	// insecureFlag tells that insecure was said on this command line.
	insecureFlag bool
}

// address returns host:port, which is also the key of the node in the file of nodes.
func (t target) address() string { return net.JoinHostPort(t.host, strconv.Itoa(t.port)) }

// target returns the node that file, environment and flags say. A port in the address wins over one from
// elsewhere, except that --port wins over an address that was not given with it.
func (a *app) target() (target, error) {
	s, err := a.effective()
	if err != nil {
		return target{}, err
	}
	t := target{insecure: s.Insecure, http: s.HTTP}
	node, port := s.Node, s.Port
	if a.given("node") {
		node = a.flags.node
	}
	if a.given("port") {
		port = a.flags.port
	}
	if a.given("insecure") {
		t.insecure, t.insecureFlag = a.flags.insecure, a.flags.insecure
	}
	if a.given("http") {
		t.http = a.flags.http
	}
	if t.host, t.port, err = api.ParseNode(node, port); err != nil {
		return target{}, userError("%v", err)
	}
	if a.given("port") && t.port != port {
		if a.given("node") {
			return target{}, userError("--node %s and --port %d name different ports", node, port)
		}
		t.port = port
	}
	return t, nil
}
