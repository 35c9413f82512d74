package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Sample returns the fully commented configuration, config.sample.yaml. Sections stand in it as they are, every key
// is commented out and shows its default: removing the # before a key, and nothing else, sets it.
func Sample() []byte {
	var b bytes.Buffer
	b.WriteString(`# Configuration of a Statiko node: every key, with its default.
#
# Save it as /etc/statiko/node-config.yaml with mode 0600, as it will hold secrets. To set a key, remove the # before
# it. Required are secretsEncryptionKey, repo.type with its own keys, and one method of authentication;
# "statiko init" writes a configuration with these, "statiko check" says what is wrong with one.
#
# Each key can be set by the environment variable named beside it, which wins over the file. Names of keys may be
# written in any mix of upper and lower case. Lists may be written as YAML lists or separated by commas. Durations
# have units: 90s, 10m, 24h, 7d. Sizes: 512MiB, 4GiB, or a number of bytes.
`)
	var open []string // the sections around the current line
	for _, g := range groups() {
		fmt.Fprintf(&b, "\n# ---- %s ----\n", g.title)
		for i := range g.keys {
			k := &g.keys[i]
			parts := strings.Split(k.name, ".")
			sections, name := parts[:len(parts)-1], parts[len(parts)-1]
			same := 0
			for same < len(open) && same < len(sections) && open[same] == sections[same] {
				same++
			}
			b.WriteString("\n")
			for depth := same; depth < len(sections); depth++ {
				fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", depth), sections[depth])
			}
			open = sections
			indent := strings.Repeat("  ", len(sections))
			for _, line := range wrap(k.comment(), 112-len(indent)) {
				fmt.Fprintf(&b, "%s# %s\n", indent, line)
			}
			fmt.Fprintf(&b, "%s#%s: %s\n", indent, name, k.yamlDefault())
		}
	}
	return b.Bytes()
}

// comment is the documentation with what the line of the key does not show.
func (k *key) comment() string {
	var b strings.Builder
	b.WriteString(k.doc)
	if k.def == "" && k.defText != "" {
		b.WriteString(" Default: " + k.defText + ".")
	}
	switch f := k.field(&Config{}).(type) {
	case *time.Duration:
		if k.unit != 0 {
			b.WriteString(" In " + k.typeName() + ".")
		}
	case *[]string:
		b.WriteString(" A list.")
	case *string:
		if *f == "" && len(k.choices) > 0 {
			b.WriteString(" One of: " + strings.Join(k.choiceNames(), ", ") + ".")
		}
	}
	if note := k.supportNote(); note != "" {
		b.WriteString(" " + note)
	}
	if len(k.aliases) > 0 {
		b.WriteString(" Also written: " + strings.Join(k.aliases, ", ") + ".")
	}
	b.WriteString(" Environment: " + strings.Join(k.env, ", ") + ".")
	return b.String()
}

// supportNote says what this version does not do with the key.
func (k *key) supportNote() string {
	if k.status == notYet {
		return "No effect yet in this version: setting it warns."
	}
	return ""
}

// yamlDefault is the default as it is written in a YAML file.
func (k *key) yamlDefault() string {
	switch k.field(&Config{}).(type) {
	case *[]string:
		return "[]"
	case *string:
		return yamlString(k.def)
	}
	return k.def
}

// plainString is text that no version of YAML takes for anything but a string.
var plainString = regexp.MustCompile(`^[a-zA-Z/_][a-zA-Z0-9/_.-]*( [a-zA-Z0-9/_.-]+)*$`)

// yamlString writes s as a YAML value, between quotes where there could be doubt.
func yamlString(s string) string {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nil":
	default:
		if plainString.MatchString(s) {
			return s
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b) // a JSON string is a YAML string
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""` // strings can be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// wrap breaks text into lines of at most width bytes, where there are blanks.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
