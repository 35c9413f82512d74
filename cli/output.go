package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

// Escape sequences of the terminal.
const (
	red    = "31"
	yellow = "33"
	dim    = "2"
)

// paint colours text for standard error if that is a terminal and NO_COLOR is not set (https://no-color.org).
func (a *app) paint(color, text string) string { return a.colored(a.StderrTerminal, color, text) }

// paintOut is paint for standard output.
func (a *app) paintOut(color, text string) string { return a.colored(a.StdoutTerminal, color, text) }

func (a *app) colored(terminal bool, color, text string) string {
	if !terminal || text == "" || a.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// warn prints a warning to standard error.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintln(a.Stderr, a.paint(yellow, "[Warning] "+fmt.Sprintf(format, args...)))
}

// say tells what happened, on standard error, where a person reads it. Standard output stays empty after a change
// that has no result, as scripts expect.
func (a *app) say(format string, args ...any) {
	if a.flags.verbose || a.StderrTerminal && a.flags.output == outputTable {
		fmt.Fprintf(a.Stderr, format+"\n", args...)
	}
}

// print writes the result to standard output: data as JSON or YAML, or what table writes.
func (a *app) print(data any, table func(*table)) error {
	var b bytes.Buffer
	if a.flags.output == outputTable {
		table(newTable(a, &b))
	} else if err := encode(&b, a.flags.output, data); err != nil {
		return localError(err, "could not write the result as %s", a.flags.output)
	}
	if _, err := a.Stdout.Write(b.Bytes()); err != nil {
		return localError(err, "could not write to standard output")
	}
	return nil
}

// encode writes data as indented JSON or as YAML with the same members in the same order.
func encode(w io.Writer, format string, data any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(data); err != nil {
		return err
	}
	if format == outputYAML {
		// JSON is YAML; only its style is not.
		var node yaml.Node
		if err := yaml.Unmarshal(b.Bytes(), &node); err != nil {
			return err
		}
		plain(&node)
		b.Reset()
		y := yaml.NewEncoder(&b)
		y.SetIndent(2)
		if err := y.Encode(&node); err != nil {
			return err
		}
		if err := y.Close(); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// plain takes the style of JSON away. Texts that would be read as something else are quoted by the encoder.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}

// table writes labels and values.
type table struct {
	a      *app
	w      *bytes.Buffer
	width  int
	indent string
}

// labelWidth is the column where values begin: that of the earlier program's output.
const labelWidth = 15

func newTable(a *app, w *bytes.Buffer) *table { return &table{a: a, w: w, width: labelWidth} }

// row writes one line; an empty value is shown as "<nil>".
func (t *table) row(label, value string) {
	label += ":"
	pad := strings.Repeat(" ", max(1, t.width-utf8.RuneCountInString(label)))
	if value == "" {
		value = t.a.paintOut(dim, "<nil>")
	}
	fmt.Fprintf(t.w, "%s%s%s%s\n", t.indent, label, pad, value)
}

// line writes text as it is.
func (t *table) line(format string, args ...any) {
	fmt.Fprintf(t.w, t.indent+format+"\n", args...)
}

// gap writes an empty line before all objects but the first.
func (t *table) gap(i int) {
	if i > 0 {
		t.w.WriteByte('\n')
	}
}

// yesNo is how a table shows what is true or not.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// size shows bytes as the earlier program did: exact below 1024, else with two decimals.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), -1
	for f >= 1024 && unit < 5 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.2f %cB", f, "KMGTPE"[unit])
}
