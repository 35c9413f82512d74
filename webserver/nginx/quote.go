package nginx

import (
	"fmt"
	"strings"
)

// maxToken is the longest word that nginx reads in a configuration: its buffer has 4096 bytes.
const maxToken = 4000

// plain writes a word in which nothing stands for anything else: in locations and patterns, where nginx knows no
// variables.
func plain(s string) string { return `"` + escaped(s) + `"` }

func escaped(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }

// quoted writes a word for places where nginx replaces variables.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, dollar).Replace(s) + `"`
}

// dollar is a variable that holds a dollar sign: nginx has no other way to write one.
const dollar = "${statiko_dollar}"

// checkWord says why a text cannot stand in a configuration at all.
func checkWord(what, s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("%s has control characters", what)
	}
	if len(quoted(s)) > maxToken {
		return fmt.Errorf("%s %w", what, errTooLong)
	}
	return nil
}
