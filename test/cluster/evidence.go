package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/api"
)

// kept is a file of the evidence that a test adds.
type kept struct {
	name  string
	write func(io.Writer) error
}

// Keep adds a file, such as a history, to what is kept if the test fails.
func (c *Cluster) Keep(name string, write func(io.Writer) error) {
	c.keep = append(c.keep, kept{name, write})
}

// evidence keeps all of a failed test in a new folder below the system's temporary one: logs, what every node says of
// itself and of the state, etcd's keys, and what was given to Keep. Its folder is this user's alone: the keys of the
// test's nodes are in it.
func (c *Cluster) evidence(t testing.TB) {
	if !t.Failed() {
		return
	}
	name := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(t.Name(), "-")
	dir, err := os.MkdirTemp("", "statiko-failed-"+name+"-")
	if err != nil {
		t.Logf("no evidence is kept: %v", err)
		return
	}
	if err := c.Evidence(dir); err != nil {
		t.Logf("not all evidence is kept: %v", err)
	}
	t.Logf("logs, states and histories are kept in %s", dir)
}

// Evidence writes it into a folder, and returns the first thing that could not be written. What cannot be asked
// stands in the files as an error.
func (c *Cluster) Evidence(dir string) error {
	var first error
	write := func(name string, do func(io.Writer) error) {
		if err := writeFile(filepath.Join(dir, name), do); err != nil && first == nil {
			first = err
		}
	}
	for _, n := range c.Nodes {
		if n.Process == nil {
			continue
		}
		write(n.Name()+".log", func(w io.Writer) error { _, err := w.Write(n.Log()); return err })
		for what, ask := range asked {
			write(n.Name()+"-"+what+".json", func(w io.Writer) error { return n.tell(w, ask) })
		}
	}
	for _, m := range c.Etcd.Members() {
		write("etcd-"+m.Name()+".log", func(w io.Writer) error { return copyFile(w, m.Log()) })
	}
	write("etcd-keys.txt", c.writeKeys)
	for _, k := range c.keep {
		write(k.name, k.write)
	}
	return first
}

// asked is what every node is asked for.
var asked = map[string]func(context.Context, *api.Client) (any, error){
	"state": func(ctx context.Context, c *api.Client) (any, error) {
		var text strings.Builder
		err := c.State(ctx, &text)
		return json.RawMessage(text.String()), err
	},
	"status":        func(ctx context.Context, c *api.Client) (any, error) { return c.Status(ctx, "", false) },
	"clusterstatus": func(ctx context.Context, c *api.Client) (any, error) { return c.ClusterStatus(ctx) },
	"leader":        func(ctx context.Context, c *api.Client) (any, error) { return c.Leader(ctx) },
}

func (n *Node) tell(w io.Writer, ask func(context.Context, *api.Client) (any, error)) error {
	c := n.PatientClient(10 * time.Second)
	defer c.Close()
	answer, err := ask(context.Background(), c)
	if err != nil {
		_, err = fmt.Fprintln(w, "the node does not answer:", err)
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(answer)
}

// writeKeys writes etcd's keys with their revisions, and the start of each value.
func (c *Cluster) writeKeys(w io.Writer) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Etcd.Endpoints(), DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := client.Get(ctx, "/", clientv3.WithPrefix())
	if err != nil {
		_, err = fmt.Fprintln(w, "etcd does not answer:", err)
		return err
	}
	for _, kv := range r.Kvs {
		if _, err := fmt.Fprintf(w, "%s created %d changed %d version %d lease %x: %.300q\n", kv.Key, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease, kv.Value); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, do func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
