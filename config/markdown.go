package config

import (
	"fmt"
	"strings"
)

// The lines of docs/configuration.md between which [MarkdownReference] stands.
const (
	MarkdownBegin = "<!-- keys:begin -->"
	MarkdownEnd   = "<!-- keys:end -->"
)

// MarkdownReference returns the reference of all keys, one table for each group, in Markdown.
func MarkdownReference() string {
	var b strings.Builder
	for _, g := range groups() {
		fmt.Fprintf(&b, "### %s\n\n| Key | Type | Default | Environment | Meaning |\n|---|---|---|---|---|\n", g.title)
		for i := range g.keys {
			k := &g.keys[i]
			def := k.defText
			if k.def != "" {
				def = code(k.def)
			} else if def == "" {
				def = "–"
			}
			text := k.doc
			if len(k.choices) > 0 {
				text += " One of " + codes(k.choiceNames()) + "."
			}
			if len(k.aliases) > 0 {
				text += " Also written " + codes(k.aliases) + "."
			}
			if note := k.supportNote(); note != "" {
				text += " *" + note + "*"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(k.name), k.typeName(), def, codes(k.env), cell(text))
		}
		b.WriteString("\n")
	}
	b.WriteString("### Only in the environment\n\n| Variable | Meaning |\n|---|---|\n")
	for _, v := range environmentOnly() {
		fmt.Fprintf(&b, "| %s | %s |\n", code(v.name), cell(v.doc))
	}
	return b.String()
}

type variable struct{ name, doc string }

// environmentOnly lists the variables that belong to no key.
func environmentOnly() []variable {
	return []variable{
		{"GO_ENV", "`production` leaves the current folder out of the search for the configuration and ignores " +
			"`ACME_INSECURE_TLS`. Released programs are in production mode unless this says otherwise."},
		{"CONFIG_FILE_PATH", "Folder that is searched first for the configuration."},
		{"ACME_INSECURE_TLS", "With any value, the certificate of the ACME server is not verified. Ignored in production mode. " +
			"*No effect yet in this version.*"},
	}
}

func code(s string) string { return "`" + cell(s) + "`" }

func codes(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = code(s)
	}
	return strings.Join(quoted, ", ")
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
