package config

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/template"
)

// InitOptions are what [InitFile] writes down.
type InitOptions struct {
	// PSK and EncryptionKey are usually those of [NewPSK] and [NewEncryptionKey].
	PSK, EncryptionKey string
	// NodeName is the node's name; "" leaves it to the machine's host name.
	NodeName string
	// Dev makes a configuration for development: everything below DevDir, on loopback, on ports that need no rights.
	Dev    bool
	DevDir string
}

// NewPSK returns a new pre-shared key: 26 random letters and digits, at least 128 bits.
func NewPSK() string { return rand.Text() }

// NewEncryptionKey returns a new value for secretsEncryptionKey: 32 random bytes, for AES-256, in base64.
func NewEncryptionKey() string {
	var raw [32]byte
	rand.Read(raw[:]) // never fails: see its documentation
	return base64.StdEncoding.EncodeToString(raw[:])
}

// InitFile returns the commented configuration that "statiko init" writes for a server or, with Dev, the one of
// "make run".
func InitFile(o InitOptions) []byte {
	text := serverFile
	if o.Dev {
		text = devFile
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"yaml": yamlString,
		"dev":  func(name string) string { return yamlString(filepath.Join(o.DevDir, name)) },
	}).Parse(text)
	var b bytes.Buffer
	if err == nil {
		err = t.Execute(&b, o)
	}
	if err != nil {
		return nil // the texts are constant, a buffer takes everything, and tests execute both
	}
	return b.Bytes()
}

// WriteInit writes a new file with mode 0600 and makes its folder if that is missing. A file that exists is never
// touched: the error is then [fs.ErrExist].
func WriteInit(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already and stays as it is; remove it or name another file: %w", path, fs.ErrExist)
	} else if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(path) // made by this call: half a configuration helps nobody
			err = fmt.Errorf("write the configuration: %w", err)
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

const serverFile = `# Configuration of this Statiko node. config.sample.yaml documents every key.
# Whoever can read this file controls the node: keep its mode at 0600.
{{if .NodeName}}
# Name of this node, shown to clients.
nodeName: {{yaml .NodeName}}
{{else}}
# Name of this node, shown to clients. Without it, the machine's host name.
#nodeName: edge-1.example.org
{{end}}
# Who may manage the node: whoever has this key. stkcli asks for it once, with "stkcli auth psk".
auth:
  psk:
    enabled: true
    key: {{yaml .PSK}}

# Encrypts private keys in the state. Keep a copy elsewhere: without it a backup of the state cannot be opened.
secretsEncryptionKey: {{yaml .EncryptionKey}}

# The API that stkcli talks to.
port: 2265
# All addresses, IPv4 and IPv6, unless set.
#bindAddress: 127.0.0.1

# Data of the node: unpacked apps, its own certificate.
appRoot: /var/statiko

# The sites, their certificates and apps, as one file.
state:
  store: file
  file:
    path: /etc/statiko/state.json

# Where the apps' bundles are kept.
repo:
  type: local
  local:
    path: /srv/statiko-repo

# Where sites are served.
webserver: builtin
web:
  httpAddress: ":80"
  httpsAddress: ":443"
  # The port that visitors use, if it is another than that of httpsAddress.
  #publicHttpsPort: 443
`

const devFile = `# Configuration for development: everything is below one folder, on loopback, on ports that need no rights.
nodeName: {{if .NodeName}}{{yaml .NodeName}}{{else}}dev{{end}}
port: 2265
bindAddress: 127.0.0.1
appRoot: {{dev "data"}}

auth:
  psk:
    enabled: true
    key: {{yaml .PSK}}

secretsEncryptionKey: {{yaml .EncryptionKey}}

state:
  store: file
  file:
    path: {{dev "state.json"}}

repo:
  type: local
  local:
    path: {{dev "repo"}}

webserver: builtin
web:
  httpAddress: 127.0.0.1:8080
  httpsAddress: 127.0.0.1:8443
  publicHttpsPort: 8443

# Names that are below this folder, so that nothing of an installed node is used. The node makes its own pair in
# appRoot while these files do not exist.
tls:
  node:
    certificate: {{dev "node.crt"}}
    key: {{dev "node.key"}}
  # The built-in web server has no use for them, and the search takes long.
  dhparams:
    generate: auto
`
