package cli

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"statiko/api"
	"statiko/config"
	"statiko/etcdclient"
	"statiko/migrate"
	"statiko/secret"
)

// place reads a node's configuration and returns where it keeps its state. The environment's variables count as for the
// node, but for those that say where the state is: here, that is what the two files are for.
func (a *app) place(flag, path string) (migrate.Place, error) {
	stateVariables := map[string]bool{}
	for _, k := range config.Keys() {
		for _, name := range k.Env {
			stateVariables[name] = strings.HasPrefix(k.Name, "state.")
		}
	}
	hostname, _ := os.Hostname() // without one, the configuration has to name the node
	c, warnings, err := config.Load(config.Options{Path: path, Hostname: hostname, Env: func(name string) string {
		if stateVariables[name] {
			return ""
		}
		return a.Getenv(name)
	}})
	for _, w := range warnings {
		a.warn("%s: %v", flag, w)
	}
	if err != nil {
		return migrate.Place{}, &failure{code: ExitUser, message: flag + ": the configuration cannot be used", cause: err}
	}
	keyring, err := secret.NewKeyring(c.SecretsEncryptionKey, c.SecretsEncryptionOldKeys...)
	if err != nil {
		return migrate.Place{}, &failure{code: ExitUser, message: flag + ": secretsEncryptionKey", cause: err}
	}
	p := migrate.Place{Keyring: keyring, Repository: repository(c)}
	if c.State.Store == "etcd" {
		p.Etcd = migrate.Etcd{Client: etcdclient.Configured(c, nil), Prefix: c.State.Etcd.KeyPrefix, NodeName: c.NodeName}
		return p, nil
	}
	p.File = c.State.File.Path
	if !filepath.IsAbs(p.File) {
		a.warn("%s: state.file.path is not absolute; it is looked for in this folder", flag)
	}
	p.Connect = func() (*api.Client, error) { return localNode(c) }
	return p, nil
}

// repository says where the bundles are, for comparison and for people.
func repository(c *config.Config) string {
	switch c.Repo.Type {
	case "local":
		return "the folder " + c.Repo.Local.Path
	case "s3":
		return fmt.Sprintf("the bucket %s at %s", c.Repo.S3.Bucket, c.Repo.S3.Endpoint)
	default:
		return fmt.Sprintf("%s, %s/%s", c.Repo.Type, c.Repo.Azure.Account, c.Repo.Azure.Container)
	}
}

// localNode returns a client of the node that runs on this machine with the configuration. The node must prove to be
// that one by the key that stands in its own files.
func localNode(c *config.Config) (*api.Client, error) {
	switch {
	case !c.Auth.PSK.Enabled:
		return nil, errors.New("its configuration has no pre-shared key (auth.psk)")
	case c.Port == 0:
		return nil, errors.New("its configuration lets it choose its port")
	}
	o := api.Options{Node: c.BindAddress, Port: c.Port, Token: c.Auth.PSK.Key, HTTP: !c.TLS.Node.Enabled, UserAgent: userAgent()}
	if ip, err := netip.ParseAddr(c.BindAddress); c.BindAddress == "" || err == nil && ip.IsUnspecified() {
		o.Node = "127.0.0.1"
		if ip.Is6() {
			o.Node = "::1"
		}
	}
	if o.HTTP {
		return api.New(o)
	}
	pin, err := nodePin(c)
	if err != nil {
		return nil, fmt.Errorf("its certificate cannot be read: %w", err)
	}
	o.Pin = pin
	return api.New(o)
}

// nodePin returns the pin of the node's certificate: the configured one if there is one, else the node's own.
func nodePin(c *config.Config) (string, error) {
	paths := []string{filepath.Join(c.AppRoot, "misc", "node.crt")}
	if configured := c.TLS.Node.Certificate; configured != "" && c.TLS.Node.Key != "" {
		paths = append([]string{configured}, paths...)
	}
	var first error
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			block, _ := pem.Decode(data)
			if block == nil {
				return "", fmt.Errorf("%s has no certificate in PEM", path)
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
			return api.PinOf(cert), nil
		}
		first = errors.Join(first, err)
	}
	return "", first
}
