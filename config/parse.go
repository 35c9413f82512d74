package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// loader is one configuration being read.
type loader struct {
	*Config
	table []key
	index index
	// places says where each value came from, by key name. Sections of the file are in it too, by lower-case name.
	places map[string]place
	// failed holds keys whose value was faulty, so that no other fault is derived from its absence.
	failed   map[string]bool
	key      *key // the one being checked
	faults   []Fault
	warnings []Warning
}

// readYAML reads the file and returns false if it is no YAML at all.
func (l *loader) readYAML(data []byte) bool {
	dec := yaml.NewDecoder(bytes.NewReader(unescapeSlashes(data)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return true // empty, or comments only
		}
		l.syntax(err, data)
		return false
	}
	if len(doc.Content) > 0 {
		root := doc.Content[0]
		switch {
		case isNull(root):
		case root.Kind != yaml.MappingNode:
			l.faultAt(at(root), "", "the file must consist of keys and values, such as `port: 2265`")
			return false
		default:
			l.section("", root, map[string]int{})
		}
	}
	var next yaml.Node
	if err := dec.Decode(&next); err == nil {
		l.faultAt(at(&next), "", "a second document begins here: write everything into one")
	} else if !errors.Is(err, io.EOF) {
		l.syntax(err, data)
		return false
	}
	return true
}

var (
	syntaxLine   = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)
	syntaxParser = regexp.MustCompile(`^did not find expected (<|node content|key|',' or|'-' indicator)`)
	syntaxAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
)

const syntaxUnknown = "the file is not valid YAML"

// syntax reports what the YAML parser said, without what it may repeat of the file's text.
func (l *loader) syntax(err error, data []byte) {
	text := err.Error()
	if m := syntaxAnchor.FindStringSubmatch(text); m != nil {
		p := place{}
		for i, line := range strings.Split(string(data), "\n") {
			if col := strings.Index(line, "*"+m[1]); col >= 0 {
				p = place{line: i + 1, col: col + 1}
				break
			}
		}
		// The name is not repeated: it may be a secret that was not quoted.
		l.faultAt(p, "", "a value that begins with * must be put between quotes")
		return
	}
	line, what := 1, strings.TrimPrefix(text, "yaml: ")
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		what = m[2]
		// yaml.v3 counts lines from 0 in what its parser finds (parserc.go), from 1 in what its scanner finds.
		if syntaxParser.MatchString(what) {
			line++
		}
	}
	line = min(line, bytes.Count(data, []byte("\n"))+1)
	where := "near this line"
	if syntaxParser.MatchString(what) {
		where = "in what begins near this line" // it names the beginning of the block or bracket
	}
	hint := ""
	if strings.Contains(what, "cannot start any token") {
		hint = "; indent with spaces instead of tabs, and quote values that begin with %, @ or `"
	}
	l.faultAt(place{line: line, col: 1}, "", "%s %s: %s%s", syntaxUnknown, where, what, hint)
}

// unescapeSlashes replaces \/ by / if data is JSON: the one escape of JSON that yaml.v3 does not know. It leaves all
// line numbers as they are.
func unescapeSlashes(data []byte) []byte {
	if !bytes.Contains(data, []byte(`\/`)) || !json.Valid(data) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] == '\\' { // only in strings, and never last in one
			i++
			if data[i] != '/' {
				out = append(out, '\\')
			}
		}
		out = append(out, data[i])
	}
	return out
}

func at(n *yaml.Node) place { return place{line: n.Line, col: n.Column} }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// section reads the mapping m, whose keys' names continue prefix. As it goes on only below known sections, its depth
// is bounded, also if an anchor contains itself.
func (l *loader) section(prefix string, m *yaml.Node, seen map[string]int) {
	for i := 0; i+1 < len(m.Content) && len(l.faults) < maxFaults; i += 2 {
		kn, vn := m.Content[i], deref(m.Content[i+1])
		if kn.Kind != yaml.ScalarNode {
			l.faultAt(at(kn), prefix, "a key must be a name")
			continue
		}
		if kn.ShortTag() == "!!merge" {
			l.faultAt(at(kn), prefix, "merging with << is not supported: write the keys here")
			continue
		}
		name := kn.Value
		if prefix != "" {
			name = prefix + "." + name
		}
		lower := strings.ToLower(name)
		if first, ok := seen[lower]; ok {
			l.faultAt(at(kn), l.spelling(lower), "is written twice: it stands in line %d already", first)
			continue
		}
		seen[lower] = kn.Line
		if k := l.index.keys[lower]; k != nil {
			l.value(k, name, kn, vn)
			continue
		}
		spelling, ok := l.index.sections[lower]
		switch {
		case !ok:
			l.unknown(name, kn)
		case isNull(vn):
		case vn.Kind == yaml.MappingNode:
			if _, ok := l.places[lower]; !ok {
				l.places[lower] = at(kn)
			}
			l.section(spelling, vn, seen)
		default:
			l.faultAt(at(kn), spelling, "holds keys, such as %s, but here is a value", l.below(lower))
		}
	}
}

// spelling returns the documented name of a known key or section.
func (l *loader) spelling(lower string) string {
	if k := l.index.keys[lower]; k != nil {
		return k.name
	}
	if s, ok := l.index.sections[lower]; ok {
		return s
	}
	return clip(lower, 80)
}

// below returns one key of a section, as an example.
func (l *loader) below(section string) string {
	for i := range l.table {
		for _, name := range append([]string{l.table[i].name}, l.table[i].aliases...) {
			if strings.HasPrefix(strings.ToLower(name), section+".") {
				return name
			}
		}
	}
	return section + "."
}

func (l *loader) unknown(name string, kn *yaml.Node) {
	if i := strings.IndexAny(name, ":= "); i >= 0 {
		// {key:secret} is one long name in YAML: what follows is not repeated.
		l.faultAt(at(kn), clip(name[:i], 80), "has no value: write a colon and a blank between key and value")
		return
	}
	if near := l.nearest(name); near != "" {
		l.faultAt(at(kn), clip(name, 80), "is not a key of the configuration; did you mean %s?", near)
		return
	}
	l.faultAt(at(kn), clip(name, 80), "is not a key of the configuration")
}

// value reads the value of k, which the file calls name.
func (l *loader) value(k *key, name string, kn, vn *yaml.Node) {
	p := at(kn)
	if first, ok := l.places[k.name]; ok {
		l.faultAt(p, k.name, "is set twice: %s means the same as the key in line %d", name, first.line)
		return
	}
	v, items, err := nodeValue(vn)
	p.items = items
	p.empty = err == nil && v.empty()
	l.places[k.name] = p
	if err != nil {
		l.fail(k, p, err)
		return
	}
	if p.empty {
		return
	}
	if err := k.set(l.Config, v); err != nil {
		l.fail(k, p, err)
	}
}

func (l *loader) fail(k *key, p place, err error) {
	l.failed[k.name] = true
	var item *itemError
	if errors.As(err, &item) && item.index < len(p.items) {
		p = p.items[item.index]
	}
	l.faultAt(p, k.name, "%v", err)
}

// nodeValue returns what n holds. Errors never repeat it, as it may be a secret.
func nodeValue(n *yaml.Node) (value, []place, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		s, err := scalar(n)
		return value{text: s}, nil, err
	case yaml.SequenceNode:
		v := value{list: make([]string, 0, len(n.Content)), isList: true}
		var items []place
		for i, c := range n.Content {
			items = append(items, at(c))
			c = deref(c)
			if c.Kind != yaml.ScalarNode || isNull(c) {
				return v, items, &itemError{i, errors.New("the list's items must be plain values")}
			}
			s, err := scalar(c)
			if err != nil {
				return v, items, &itemError{i, err}
			}
			v.list = append(v.list, s)
		}
		return v, items, nil
	}
	return value{}, nil, errors.New("must be a value, but here are keys")
}

func scalar(n *yaml.Node) (string, error) {
	switch n.ShortTag() {
	case "!!null":
		return "", nil
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		// The text as written: 007 stays 007 in a password.
		return n.Value, nil
	default:
		// The tag is not repeated: it may be a secret that was not quoted.
		return "", errors.New("has a YAML tag, which is not supported: put a value that begins with ! between quotes")
	}
}

// readEnv takes values from the environment, which wins over the file.
func (l *loader) readEnv(env func(string) string) {
	for i := range l.table {
		k := &l.table[i]
		used, text := "", ""
		for _, name := range k.env {
			s := env(name)
			switch {
			case s == "":
			case used == "":
				used, text = name, s
			case s != text:
				l.warnAt(place{env: name}, k.name, "is ignored: %s says otherwise and wins", used)
			}
		}
		if used == "" {
			continue
		}
		p := place{env: used}
		l.places[k.name] = p
		k.reset(l.Config)
		if err := k.set(l.Config, value{text: text}); err != nil {
			l.fail(k, p, err)
		}
	}
}
