package cli

import "github.com/spf13/pflag"

// alias is a flag's second short form: setting it sets the flag.
type alias struct{ of *pflag.Flag }

func (a alias) String() string { return a.of.Value.String() }
func (a alias) Type() string   { return a.of.Value.Type() }

func (a alias) Set(s string) error {
	a.of.Changed = true
	return a.of.Value.Set(s)
}

// IsBoolFlag lets pflag take it without a value where the flag itself is so.
func (a alias) IsBoolFlag() bool { return a.of.Value.Type() == "bool" }
