package config

import (
	"slices"
	"strings"
	"time"
)

// status says since when a key has effect.
type status int

const (
	// effective keys do what their text says.
	effective status = iota
	// notYet keys are known but have no effect in this version: setting one warns.
	notYet
)

// key is one row of the table: all that is known about one key.
type key struct {
	// name is the dotted name, in the spelling of the documentation of this program.
	name string
	// aliases are other names under which the key is accepted in a file.
	aliases []string
	// env are the environment variables that hold it; the first that is not empty counts.
	env []string
	// field returns the address of the key's field: *string, *bool, *int, *int64 (a size in bytes),
	// *time.Duration or *[]string.
	field func(*Config) any
	// def is the default, written as in the environment; "" leaves the field's zero value.
	def string
	// defText describes a default that def cannot express.
	defText string
	// choices are the values of a string that has few.
	choices []choice
	// unit is what a number without a unit counts in a duration; 0 means that there must be a unit.
	unit time.Duration
	// path says that the string names a file or folder: it is cleaned.
	path bool
	// multiline allows line breaks in a string.
	multiline bool
	// secret values never reach a message.
	secret bool
	// required says what to do if the value is empty; "" means that it may be.
	required string
	// status says whether the key has effect.
	status status
	// doc is the documentation: one paragraph.
	doc string
	// check judges and normalises the final value; it runs after all keys were read, in the order of the table.
	check func(*loader)
}

// choice is one value of a key that has few.
type choice struct {
	value string
	// also are other spellings of it.
	also []string
}

// group is a part of the documentation.
type group struct {
	title string
	keys  []key
}

// groups returns the table. A section of the file (such as "tls") never spans two groups.
func groups() []group {
	return []group{
		{"The node", nodeKeys()},
		{"Who may manage it", authKeys()},
		{"Where the state is kept", stateKeys()},
		{"Apps", bundleKeys()},
		{"The web server", webKeys()},
		{"TLS", tlsKeys()},
		{"Temporary sites", temporaryKeys()},
		{"Cluster", clusterKeys()},
		{"Notifications and logs", noticeKeys()},
	}
}

func table() []key {
	var all []key
	for _, g := range groups() {
		all = append(all, g.keys...)
	}
	return all
}

// index finds keys by any of their names, in lower case.
type index struct {
	keys map[string]*key
	// sections are the names that have keys below them, each with its spelling.
	sections map[string]string
}

func newIndex(t []key) index {
	ix := index{keys: map[string]*key{}, sections: map[string]string{}}
	for i := range t {
		for _, name := range append([]string{t[i].name}, t[i].aliases...) {
			ix.keys[strings.ToLower(name)] = &t[i]
			for j := range name {
				if name[j] == '.' {
					ix.sections[strings.ToLower(name[:j])] = name[:j]
				}
			}
		}
	}
	return ix
}

// typeName is the type as the documentation calls it.
func (k *key) typeName() string {
	switch k.field(&Config{}).(type) {
	case *bool:
		return "bool"
	case *int:
		return "integer"
	case *int64:
		return "size"
	case *time.Duration:
		switch k.unit {
		case time.Millisecond:
			return "milliseconds"
		case time.Second:
			return "seconds"
		}
		return "duration"
	case *[]string:
		return "list"
	}
	if k.path {
		return "path"
	}
	if len(k.choices) > 0 {
		return "choice"
	}
	return "string"
}

func (k *key) choiceNames() []string {
	var names []string
	for _, c := range k.choices {
		if c.value != "" {
			names = append(names, c.value)
		}
	}
	return names
}

// KeyDoc documents one key.
type KeyDoc struct {
	// Name is the dotted name, Aliases are other accepted ones.
	Name    string
	Aliases []string
	// Type is one of bool, integer, string, path, choice, list, size, duration, seconds and milliseconds.
	Type string
	// Choices are the values of a choice.
	Choices []string
	// Default is the default value, or its description; "" if there is none.
	Default string
	// Env are the environment variables, the preferred one first.
	Env []string
	// Effective is false if this version knows the key but does not act on it.
	Effective bool
	// Secret tells that the value must not be shown.
	Secret bool
	// Text is the documentation, one paragraph of plain text with `code` in backquotes.
	Text string
}

// Keys documents all keys in the order of config.sample.yaml.
func Keys() []KeyDoc {
	var docs []KeyDoc
	for _, k := range table() {
		docs = append(docs, k.document())
	}
	return docs
}

func (k *key) document() KeyDoc {
	d := KeyDoc{Name: k.name, Aliases: slices.Clone(k.aliases), Type: k.typeName(), Choices: k.choiceNames(),
		Default: k.def, Env: slices.Clone(k.env), Effective: k.status == effective, Secret: k.secret, Text: k.doc}
	if d.Default == "" {
		d.Default = k.defText
	}
	return d
}
