package bundle

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// ParseManifest parses a manifest strictly: unknown keys, duplicate keys, wrong types and values that could not
// be obeyed are faults. All faults are returned at once, in a [*ManifestError]; no other type of error is
// returned. An empty document is a manifest that asks for nothing. The name is used in messages only.
//
// Whether the hosts that rules pass requests on to are allowed is not checked here, see
// [Manifest.CheckProxies].
func ParseManifest(name string, data []byte) (*Manifest, error) {
	p := &manifestParser{}
	m := p.document(data)
	if len(p.faults) > 0 {
		slices.SortStableFunc(p.faults, func(a, b ManifestFault) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		if n := len(p.faults); n > maxFaults {
			p.faults = append(p.faults[:maxFaults:maxFaults],
				ManifestFault{Message: fmt.Sprintf("and %d more faults", n-maxFaults)})
		}
		return nil, &ManifestError{Name: name, Faults: p.faults}
	}
	m.name = name
	m.index = newRuleIndex(m.Rules)
	return m, nil
}

type manifestParser struct {
	faults []ManifestFault
	insts  int // of all patterns so far
}

// fault notes a fault at a node, or, with nil, at no place.
func (p *manifestParser) fault(n *yaml.Node, field, format string, args ...any) {
	f := ManifestFault{Field: field, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Line, f.Column = n.Line, n.Column
	}
	p.faults = append(p.faults, f)
}

func (p *manifestParser) document(data []byte) *Manifest {
	m := &Manifest{}
	if len(data) > MaxManifestSize {
		p.fault(nil, "", "is %d bytes long; at most %d are read", len(data), MaxManifestSize)
		return m
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return m
	case err != nil:
		p.syntax(err)
		return m
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		p.fault(&second, "", "a second document begins here; a manifest is one document")
	case !errors.Is(err, io.EOF):
		p.syntax(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return m
	}
	p.mapping(doc.Content[0], "", 0, func(key string, k, v *yaml.Node) {
		switch key {
		case "rules":
			m.Rules = p.rules(v)
		case "rewrite":
			m.Rewrites = p.rewrites(v)
		case "page403":
			m.Page403 = p.page(v, key)
		case "page404":
			m.Page404 = p.page(v, key)
		default:
			p.unknown(k, "", key, "rules, rewrite, page403, page404")
		}
	})
	return m
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntax reports an error of the YAML parser, which names its line only in the text.
func (p *manifestParser) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	f := ManifestFault{}
	if g := yamlLine.FindStringSubmatch(text); g != nil {
		f.Line, _ = strconv.Atoi(g[1])
		text = text[len(g[0]):]
	}
	f.Message = "is not YAML: " + text
	p.faults = append(p.faults, f)
}

func (p *manifestParser) unknown(n *yaml.Node, field, key, known string) {
	if n.Tag == "!!merge" {
		p.fault(n, join(field, key), "merge keys are not supported; write the keys out")
		return
	}
	p.fault(n, join(field, key), "unknown key; known ones are %s", known)
}

// mapping calls each for every pair of a mapping, whose value it resolves if it is an alias. Null counts as an
// empty mapping. limit 0 means none.
func (p *manifestParser) mapping(n *yaml.Node, field string, limit int, each func(key string, k, v *yaml.Node)) {
	n = resolve(n)
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		p.fault(n, field, "must be a mapping of keys to values, not %s", kindOf(n))
		return
	}
	if limit > 0 && len(n.Content)/2 > limit {
		p.fault(n, field, "has %d keys; at most %d are read", len(n.Content)/2, limit)
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), resolve(n.Content[i+1])
		if k.Kind != yaml.ScalarNode {
			p.fault(k, field, "a key must be text, not %s", kindOf(k))
			continue
		}
		if line, ok := seen[k.Value]; ok {
			p.fault(k, join(field, k.Value), "duplicate key; it stands in line %d already", line)
			continue
		}
		seen[k.Value] = k.Line
		each(k.Value, k, v)
	}
}

// text returns a string value. It refuses everything that YAML takes for another type, except numbers and the
// like in places where loose is set.
func (p *manifestParser) text(n *yaml.Node, field string, limit int, loose bool) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		p.fault(n, field, "must be text, not %s", kindOf(n))
	case isNull(n):
		p.fault(n, field, "has no value")
	case n.ShortTag() != "!!str" && !loose:
		p.fault(n, field, "must be text, not %s; put it into quotes", kindOf(n))
	case len(n.Value) > limit:
		p.fault(n, field, "is %d bytes long; at most %d are allowed", len(n.Value), limit)
	default:
		return n.Value, true
	}
	return "", false
}

func (p *manifestParser) boolean(n *yaml.Node, field string) bool {
	var b bool
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(&b) != nil {
		p.fault(n, field, "must be true or false, not %s", kindOf(n))
	}
	return b
}

// resolve follows an alias to what it stands for. An alias may stand for a mapping that contains it; no walk
// here is deeper than the manifest's own form, so that this cannot go round for ever.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	case "!!str":
		return "text"
	}
	return "a value with the tag " + strconv.Quote(n.Tag)
}

func join(field, key string) string {
	if len(key) > 40 || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f || r == '.' }) {
		if len(key) > 40 {
			key = key[:40] + "…"
		}
		key = strconv.Quote(key)
	}
	if field == "" {
		return key
	}
	return field + "." + key
}
