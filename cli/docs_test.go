package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestDocs_NameEveryCommandAndFlag keeps docs/cli.md complete.
func TestDocs_NameEveryCommandAndFlag(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := string(b)
	a := &app{Env: Env{Getenv: func(string) string { return "" }}}
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			check(sub)
		}
		path := strings.TrimPrefix(cmd.CommandPath(), "stkcli ")
		row := docs
		if !cmd.HasSubCommands() {
			_, after, ok := strings.Cut(docs, "\n| `"+path+"` |")
			if !ok {
				t.Errorf("the table of commands has no %q", path)
				return
			}
			row, _, _ = strings.Cut(after, "\n")
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			want := "--" + f.Name
			if f.Shorthand != "" {
				want = "-" + f.Shorthand + "/" + want
			}
			if !f.Hidden && f.Name != "wait" && !strings.Contains(row, "`"+want+"`") {
				t.Errorf("%s: %s is not in the table", path, want)
			}
		})
	}
	root := a.root()
	check(root)
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(docs, "--"+f.Name) {
			t.Errorf("--%s is not in docs/cli.md", f.Name)
		}
	})
}

// TestFlags_ContractLetters holds the short forms that users' scripts rely on.
func TestFlags_ContractLetters(t *testing.T) {
	t.Parallel()
	a := &app{Env: Env{Getenv: func(string) string { return "" }}}
	root := a.root()
	for path, letters := range map[string]string{
		"site add": "dactNPSnpk", "site set": "dacNPSnpk", "site get": "dNPSnpk", "site remove": "dNPSnpk", "deploy": "daNPSnpk",
		"app upload": "afsNPSnpk", "app remove": "aNPSnpk", "certificate add": "nckfNPSp", "certificate remove": "nNPSpk",
		"dhparams set": "fNPSnpk", "state get": "oNPSnpk", "state set": "fNPSnpk", "status": "dfNPSnpk", "cluster status": "NPSnpk",
		"auth psk": "NPSnpk",
	} {
		cmd, _, err := root.Find(strings.Fields(path))
		if err != nil {
			t.Fatal(err)
		}
		cmd.InheritedFlags() // merges those of the root
		for _, letter := range letters {
			if cmd.Flags().ShorthandLookup(string(letter)) == nil && root.PersistentFlags().ShorthandLookup(string(letter)) == nil {
				t.Errorf("%s has no -%c", path, letter)
			}
		}
	}
}
