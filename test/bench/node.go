package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"text/template"
	"time"

	"statiko/api"
	"statiko/config"
)

// node is the real program with a configuration of its own. It can be stopped and started again.
type node struct {
	binary, dir, configFile string
	psk                     string
	apiPort, httpsPort      int
	process                 *process
	client                  *api.Client
}

var nodeConfig = template.Must(template.New("").Parse(`nodeName: {{.Name}}
port: {{.API}}
bindAddress: 127.0.0.1
appRoot: {{.Dir}}/data
auth:
  psk:
    enabled: true
    key: {{.PSK}}
secretsEncryptionKey: "{{.Key}}"
drainDelay: 0
{{with .Cluster}}cluster:
  advertise: 127.0.0.1:{{$.API}}
state:
  store: etcd
  etcd:
    address: [{{range .Endpoints}}"{{.}}", {{end}}]
    keyPrefix: {{.Prefix}}
{{else}}state:
  store: file
  file:
    path: {{.Dir}}/state.json
{{end}}repo:
  type: local
  local:
    path: {{.Dir}}/repo
webserver: builtin
web:
  httpAddress: 127.0.0.1:{{.HTTP}}
  httpsAddress: 127.0.0.1:{{.HTTPS}}
  publicHttpsPort: {{.HTTPS}}
tls:
  node:
    certificate: {{.Dir}}/node.crt
    key: {{.Dir}}/node.key
  dhparams: # their making takes the processors for minutes
    generate: never
log:
  level: warn
  format: json
`))

// shared is what the nodes of a cluster have in common.
type shared struct {
	Endpoints []string
	// Prefix is that of etcd's keys.
	Prefix string
	// key seals secrets, psk is for the API.
	key, psk string
}

// newNode writes the configuration of a node in a new folder below b.dir. It does not start it.
func (b *bench) newNode(name string) (*node, error) { return b.newNodeOf(nil, name) }

// newNodeOf does so for a node of a cluster; nil for a node by itself.
func (b *bench) newNodeOf(cluster *shared, name string) (*node, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	n := &node{binary: b.binary, dir: filepath.Join(b.dir, name), psk: config.NewPSK(), apiPort: ports[0], httpsPort: ports[2]}
	n.configFile = filepath.Join(n.dir, "node-config.yaml")
	key := config.NewEncryptionKey()
	if cluster != nil {
		key, n.psk = cluster.key, cluster.psk
	}
	var text bytes.Buffer
	if err := nodeConfig.Execute(&text, map[string]any{
		"Name": name, "API": ports[0], "HTTP": ports[1], "HTTPS": ports[2], "Dir": n.dir, "PSK": n.psk, "Key": key, "Cluster": cluster,
	}); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return nil, err
	}
	return n, os.WriteFile(n.configFile, text.Bytes(), 0o600)
}

// start starts the process, and returns when it runs, not when it answers.
func (n *node) start() (err error) {
	if n.process != nil && n.process.ended() == nil {
		return errors.New("the node runs already")
	}
	n.client, err = api.New(api.Options{Node: "127.0.0.1", Port: n.apiPort, Token: n.psk, Insecure: true, Timeout: serveTimeout})
	if err != nil {
		return err
	}
	n.process, err = start("statiko", n.dir, nil, n.binary, "--config", n.configFile)
	return err
}

// stop ends the process. It is idempotent, and fine on a node that was not started.
func (n *node) stop() error {
	if n.process == nil {
		return nil
	}
	n.client.Close()
	return n.process.stop()
}

// ready waits until the API answers.
func (n *node) ready(ctx context.Context) error {
	return poll(ctx, startTimeout, 2*time.Millisecond, "the API does not answer", func() error {
		if err := n.process.ended(); err != nil {
			return final{err}
		}
		_, err := n.client.Info(ctx)
		return err
	})
}

// startReady starts the process and waits until the API answers.
func (n *node) startReady(ctx context.Context) error {
	if err := n.start(); err != nil {
		return err
	}
	return n.ready(ctx)
}

func (n *node) https() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.httpsPort)) }

// final is an error that trying again does not help.
type final struct{ error }

// poll calls try, with pauses, until it succeeds, fails for good, or the time is over.
func poll(ctx context.Context, timeout, pause time.Duration, what string, try func() error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for deadline := time.Now().Add(timeout); ; {
		err := try()
		if err == nil {
			return nil
		}
		if f, ok := err.(final); ok {
			return fmt.Errorf("%s: %w", what, f.error)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s within %s: %w", what, timeout, err)
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// rest lets time pass, to measure what a node does when left alone.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
