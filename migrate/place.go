package migrate

import (
	"fmt"
	"path/filepath"
	"strings"

	"statiko/api"
	"statiko/etcdclient"
	"statiko/secret"
)

// Place is where a state is kept.
type Place struct {
	// File is the path of the state document; "" if the state is in etcd.
	File string
	// Etcd is used if File is "".
	Etcd Etcd
	// Keyring opens the secrets.
	Keyring *secret.Keyring
	// Repository says, for comparison only, where the bundles' archives are kept.
	Repository string
	// Connect returns a client of the node that may be running with the file. Nil means that it cannot be asked.
	Connect func() (*api.Client, error)
}

// Etcd is a state in etcd.
type Etcd struct {
	Client etcdclient.Options
	// Prefix begins all keys.
	Prefix string
	// NodeName is that of the node whose configuration it is.
	NodeName string
}

// String names the place for people.
func (p Place) String() string {
	if p.File != "" {
		return "the file " + p.File
	}
	return fmt.Sprintf("etcd at %s under %s", strings.Join(p.Etcd.Client.Endpoints, ","), p.Etcd.Prefix)
}

// resolved returns the file's path without symbolic links, as far as they can be followed.
func (p Place) resolved() string {
	path, err := filepath.Abs(p.File)
	if err != nil {
		return p.File
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(folder, filepath.Base(path))
	}
	return path
}

// Refusal says that nothing was done because it needs somebody's decision.
type Refusal struct {
	Message string
	// Hint is a next step; may be empty.
	Hint string
	// Cause may be nil.
	Cause error
}

func (r *Refusal) Error() string {
	if r.Cause != nil {
		return r.Message + ": " + r.Cause.Error()
	}
	return r.Message
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

func refuse(hint, format string, args ...any) *Refusal {
	return &Refusal{Message: fmt.Sprintf(format, args...), Hint: hint}
}
