// Command bench measures Statiko as its users meet it: it starts the built program with a generated configuration in
// a folder of its own, talks to it over the API and HTTPS, and prints a table. What servers and tools of the same
// job do in the same run stands beside. "make bench" builds the program and runs all of it; docs/performance.md says
// how to read the figures. Start at run.
//
// It is not a test: nothing fails because a figure is bad. It ends with an error when something could not be
// measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measurement is one part of the program, named by the letter that -only takes.
type measurement struct {
	letter, about string
	run           func(context.Context, *bench) error
}

var measurements = [...]measurement{
	{"a", "sites per second under 8 writers", measureWriters},
	{"b", "start with many sites, and one site more", nil}, // with d, as both need the same nodes
	{"c", "requests per second of one file", measureServing},
	{"d", "cost of a change to the state", nil},
	{"e", "self-signed pairs per second", measurePairs},
	{etcdPart, "the store on etcd beside etcd's own client", measureEtcd},
	{nodesPart, "certificates in a cluster", measureNodes},
	{bundlesPart, "bundles in a cluster", measureBundles},
	{enginesPart, "both web servers with the same sites", measureEngines},
	{dhPart, "Diffie-Hellman parameters beside openssl", measureDH},
	{objectsPart, "bundles in an object store", measureObjects},
}

// bench is one run of the program.
type bench struct {
	size sizes
	only map[string]bool
	// bin is the folder of the built programs.
	bin string
	// dir is the temporary folder of this run; everything that runs keeps its files below it.
	dir  string
	rows []row
}

func (b *bench) wants(letter string) bool { return len(b.only) == 0 || b.only[letter] }

func (b *bench) add(rows ...row) { b.rows = append(b.rows, rows...) }

// say reports progress.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// run measures what the arguments ask for and prints it.
func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "comma-separated `letters` of what to measure: "+letters())
	quick := flags.Bool("quick", false, "fewer sites, shorter rounds: minutes become seconds, and figures rougher")
	asJSON := flags.Bool("json", false, "print JSON in place of the table")
	markdown := flags.String("markdown", "", "also replace the table between the markers in this Markdown `file`; with -only, the rows of these parts")
	dir := flags.String("dir", "", "`folder` for temporary files (default: the system's); its disk is measured too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	b := &bench{size: fullSizes, only: map[string]bool{}}
	if *quick {
		b.size = quickSizes
	}
	if err := b.choose(*only); err != nil {
		return err
	}
	root, err := findRoot()
	if err != nil {
		return err
	}
	b.bin = filepath.Join(root, "bin")
	if _, err := os.Stat(filepath.Join(b.bin, "statiko")); err != nil {
		return fmt.Errorf("the program is not built: run \"make build\" first: %w", err)
	}
	if b.dir, err = os.MkdirTemp(*dir, "statiko-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()

	measured := b.measure(ctx)
	// What was measured before a fault is worth showing.
	notes := machineNotes(root, *quick)
	if *asJSON {
		err = writeJSON(os.Stdout, notes, b.rows)
	} else {
		err = writeTable(os.Stdout, notes, b.rows)
	}
	if *markdown != "" && measured == nil {
		err = errors.Join(err, updateMarkdown(*markdown, notes, b.rows, b.only))
	}
	return errors.Join(measured, err)
}

// choose reads the value of -only.
func (b *bench) choose(only string) error {
	for _, letter := range strings.FieldsFunc(only, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.ContainsFunc(measurements[:], func(m measurement) bool { return m.letter == letter }) {
			return fmt.Errorf("-only %s: there is no measurement %q; there are %s", only, letter, letters())
		}
		b.only[letter] = true
	}
	return nil
}

// measure runs what was chosen, in an order that leaves the machine quiet for each.
func (b *bench) measure(ctx context.Context) error {
	err := b.measureChosen(ctx)
	if err != nil && ctx.Err() != nil {
		// What stores and nodes say of being cut off is of no interest then. A signal from the terminal reaches nodes twice.
		return ctx.Err()
	}
	return err
}

func (b *bench) measureChosen(ctx context.Context) error {
	for _, m := range measurements {
		if m.run == nil || !b.wants(m.letter) {
			continue
		}
		say("%s: %s", m.letter, m.about)
		if err := m.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", m.about, err)
		}
	}
	if b.wants("b") || b.wants("d") {
		say("b, d: nodes with many sites")
		if err := measureScale(ctx, b); err != nil {
			return fmt.Errorf("nodes with many sites: %w", err)
		}
	}
	return nil
}

func letters() string {
	var all []string
	for _, m := range measurements {
		all = append(all, m.letter+" ("+m.about+")")
	}
	return strings.Join(all, ", ")
}
