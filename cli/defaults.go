package cli

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"statiko/api"
)

func (a *app) defaultsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "defaults",
		Short: "Show which node commands talk to, or store it",
		Long: `Stores those of --node, --port, --insecure and --http that are given, in config.yaml of stkcli's folder, and shows
the stored defaults. Environment variables (STKCLI_NODE, …) win over them, and flags over both.`,
		Example: "  stkcli defaults --node edge-1.example.org\n  stkcli defaults --insecure=false",
		RunE:    func(*cobra.Command, []string) error { return a.defaults() },
	}
}

func (a *app) defaults() error {
	path, err := a.file("config.yaml")
	if err != nil {
		return err
	}
	if _, err := a.readSettings(); err != nil {
		return err
	}
	values := map[string]string{}
	if a.given("node") {
		host, port, err := api.ParseNode(a.flags.node, 0)
		if err != nil {
			return userError("%v", err)
		}
		values["node"] = host
		// A port in the address is there whatever port it would get otherwise.
		_, one, _ := api.ParseNode(a.flags.node, 1)
		_, two, _ := api.ParseNode(a.flags.node, 2)
		if one == two {
			values["port"] = strconv.Itoa(port)
		}
	}
	if a.given("port") {
		if _, _, err := api.ParseNode("localhost", a.flags.port); err != nil || a.flags.port == 0 {
			return userError("%d is not a port", a.flags.port)
		}
		if p := values["port"]; p != "" && p != strconv.Itoa(a.flags.port) {
			return userError("--node %s and --port %d name different ports", a.flags.node, a.flags.port)
		}
		values["port"] = strconv.Itoa(a.flags.port)
	}
	if a.given("insecure") {
		values["insecure"] = strconv.FormatBool(a.flags.insecure)
	}
	if a.given("http") {
		values["http"] = strconv.FormatBool(a.flags.http)
	}
	if len(values) > 0 {
		if err := writeSettings(path, values); err != nil {
			return err
		}
	}
	s, err := a.readSettings()
	if err != nil {
		return err
	}
	return a.print(s, func(t *table) {
		t.row("Node", s.Node)
		t.row("Port", strconv.Itoa(s.Port))
		t.row("Insecure", yesNo(s.Insecure))
		t.row("HTTP", yesNo(s.HTTP))
		t.row("File", path)
	})
}

// writeSettings sets values in the file; what else stands there, comments too, stays.
func writeSettings(path string, values map[string]string) error {
	var doc yaml.Node
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return localError(err, "could not read stkcli's settings")
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return localError(err, "%s cannot be read", path)
	}
	if doc.Kind == 0 || doc.Content[0].Kind != yaml.MappingNode {
		doc = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	m := doc.Content[0]
	for _, name := range []string{"node", "port", "insecure", "http"} {
		if value, ok := values[name]; ok {
			setMember(m, name, value)
		}
	}
	out, err := yaml.Marshal(&doc)
	if err != nil {
		return localError(err, "could not encode stkcli's settings")
	}
	return writeOwn(path, out)
}

func setMember(m *yaml.Node, name, value string) {
	tag := map[string]string{"node": "!!str", "port": "!!int", "insecure": "!!bool", "http": "!!bool"}[name]
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name {
			old := m.Content[i+1]
			m.Content[i+1] = &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value, LineComment: old.LineComment}
			return
		}
	}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name},
		&yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value})
}
