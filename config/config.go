// Package config reads the node's configuration: a YAML file, the environment and defaults, in one typed [Config].
// Start at [Load]. Everything that is known about a key (its spellings, type, default, environment variables,
// whether it has effect in this version, its documentation and its checks) stands in one table, see keys_*.go;
// parsing, faults, config.sample.yaml and docs/configuration.md are derived from it.
//
// The package opens nothing but the configuration file and changes nothing but what [WriteInit] is told to write.
// It never reads the process's environment by itself, and never puts the value of a secret into a message.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxFileSize bounds the configuration file, in bytes. A full configuration has about 30 kB; what is larger is
// something else, given by mistake.
const maxFileSize = 1 << 20

// Options say where a configuration comes from.
type Options struct {
	// Path is the file to read. With "" the file is searched: see [Load].
	Path string
	// Env looks an environment variable up and returns "" if it is not set. Nil means an empty environment.
	Env func(string) string
	// Production leaves Dir out of the search. See [IsProduction].
	Production bool
	// Dir is the folder searched last outside of production mode; "" means the current directory.
	Dir string
	// SystemDir is searched after the folder that CONFIG_FILE_PATH names; "" means /etc/statiko.
	SystemDir string
	// Hostname is the default of the key nodeName.
	Hostname string
}

// IsProduction tells whether the variable GO_ENV, or else the value built into the program, asks for production mode.
func IsProduction(env func(string) string, built string) bool {
	mode := built
	if env != nil && env("GO_ENV") != "" {
		mode = env("GO_ENV")
	}
	return mode == "production"
}

// Load reads, completes and checks the configuration.
//
// Without Options.Path, the file is the first that exists of node-config.yaml, node-config.yml and
// node-config.json in the folder that the variable CONFIG_FILE_PATH names, then in SystemDir, then, outside of
// production mode, in Dir. That there is none is no error: the environment may hold all that is required.
//
// A value comes from the environment if a variable of the key is set and not empty, else from the file, else it is
// the default. If anything is wrong, the error is a [*FaultsError] that holds all faults found; an error of the
// file system is returned wrapped. Warnings are returned in either case.
func Load(o Options) (*Config, []Warning, error) {
	path, warnings, err := search(o)
	if err != nil {
		return nil, warnings, err
	}
	var data []byte
	var mode fs.FileMode
	if path != "" {
		if data, mode, err = readFile(path); err != nil {
			return nil, warnings, err
		}
	}
	c, more, err := load(path, data, mode, o)
	return c, append(warnings, more...), err
}

// Parse makes a configuration from the text of a file, which messages call name, and env (nil: an empty
// environment). It touches no file. Errors and warnings are as those of [Load].
func Parse(name string, data []byte, env func(string) string) (*Config, []Warning, error) {
	return load(name, data, 0, Options{Env: env})
}

func load(name string, data []byte, mode fs.FileMode, o Options) (*Config, []Warning, error) {
	env := o.Env
	if env == nil {
		env = func(string) string { return "" }
	}
	l := &loader{
		Config: &Config{File: name},
		table:  table(),
		places: map[string]place{},
		failed: map[string]bool{},
	}
	l.index = newIndex(l.table)
	if len(data) > maxFileSize {
		return nil, nil, &FaultsError{Faults: []Fault{{File: name, Message: "is larger than 1 MiB: this is no configuration"}}}
	}
	if !l.readYAML(data) {
		return nil, l.warnings, l.err()
	}
	l.readEnv(env)
	l.setDefaults(o.Hostname)
	l.Config.ACME.InsecureTLS = !o.Production && env("ACME_INSECURE_TLS") != ""
	l.check()
	l.checkMode(mode)
	if err := l.err(); err != nil {
		return nil, l.warnings, err
	}
	return l.Config, l.warnings, nil
}

func readFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, 0, fmt.Errorf("read the configuration: %w; `statiko init` writes one", err)
		}
		return nil, 0, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("read the configuration: %w", err)
	}
	if info.IsDir() {
		return nil, 0, fmt.Errorf("read the configuration: %s is a folder; name the file in it", path)
	}
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(f, maxFileSize+1)); err != nil {
		return nil, 0, fmt.Errorf("read the configuration: %w", err)
	}
	return buf.Bytes(), info.Mode(), nil
}

// checkMode warns of a file with secrets that every user of the machine may read.
func (l *loader) checkMode(mode fs.FileMode) {
	if mode.Perm()&0o004 == 0 {
		return
	}
	var held []string
	for i := range l.table {
		k := &l.table[i]
		if p, ok := l.places[k.name]; ok && k.secret && p.env == "" && p.line > 0 {
			held = append(held, k.name)
		}
	}
	if len(held) > 0 {
		l.warnings = append(l.warnings, Warning{File: l.File, Message: fmt.Sprintf(
			"every user of this machine can read the file, which holds %s: run chmod 600 on it", strings.Join(held, ", "))})
	}
}
