package config

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
)

// update rewrites what is generated: go test ./config -run Generated -update
var update = flag.Bool("update", false, "rewrite config.sample.yaml and the reference in docs/configuration.md")

func TestGenerated_SampleFile(t *testing.T) {
	const path = "../config.sample.yaml"
	if *update {
		if err := os.WriteFile(path, Sample(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(Sample()) {
		t.Errorf("%s is not what Sample returns: run go test ./config -run Generated -update", path)
	}
}

func TestGenerated_Reference(t *testing.T) {
	const path = "../docs/configuration.md"
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		t.Skip("no docs beside this package")
	} else if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), MarkdownBegin+"\n")
	section, after, ok2 := strings.Cut(rest, MarkdownEnd+"\n")
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines %s and %s", path, MarkdownBegin, MarkdownEnd)
	}
	if *update {
		text := before + MarkdownBegin + "\n" + MarkdownReference() + MarkdownEnd + "\n" + after
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if section != MarkdownReference() {
		t.Errorf("the reference in %s is not what MarkdownReference returns: run go test ./config -run Generated -update", path)
	}
}

// The examples in the documentation name only keys that exist.
func TestDocs_ExamplesAreKnown(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../docs/configuration.md")
	if os.IsNotExist(err) {
		t.Skip("no docs beside this package")
	} else if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(data), "```yaml\n")[1:]
	if len(blocks) < 3 {
		t.Fatalf("%d examples", len(blocks))
	}
	for _, b := range blocks {
		text, _, _ := strings.Cut(b, "```")
		_, _, err := Parse("example", []byte(text), lookup(fullEnv()))
		var faults *FaultsError
		if err != nil && !errors.As(err, &faults) {
			t.Fatal(err)
		}
		if faults == nil {
			continue
		}
		for _, f := range faults.Faults {
			// Keys stand in examples as words.
			if !strings.HasPrefix(f.Key, "secretsEncryption") {
				t.Errorf("%v in\n%s", f, text)
			}
		}
	}
}
