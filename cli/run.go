package cli

import (
	"bufio"
	"context"
	"io"

	"github.com/spf13/cobra"
)

// Env is the world that a command runs in.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Getenv returns an environment variable; "" if it is not set.
	Getenv func(string) string
	// Home is the user's home folder; "" if there is none.
	Home string
	// StdinTerminal, StdoutTerminal and StderrTerminal tell where a person sits. Questions need the first and
	// the last.
	StdinTerminal, StdoutTerminal, StderrTerminal bool
	// ReadSecret reads a line from the terminal without showing it. It is only called if StdinTerminal.
	ReadSecret func() (string, error)
}

// app is one run of a command line.
type app struct {
	Env
	in    *bufio.Reader
	flags globalFlags
	// settings are read by the first that asks.
	settings *settings
	// given tells whether a flag that every command has was on the command line.
	given func(name string) bool
}

// globalFlags are those that every command has.
type globalFlags struct {
	node        string
	port        int
	insecure    bool
	http        bool
	fingerprint string
	output      string
	verbose     bool
	wait        waitFlag
}

// Run runs the command line args (without the program's name) and returns the exit code, one of the Exit
// constants. When ctx ends, the command ends.
func Run(ctx context.Context, args []string, env Env) int {
	if env.Getenv == nil {
		env.Getenv = func(string) string { return "" }
	}
	a := &app{Env: env, in: bufio.NewReader(env.Stdin)}
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean the process's arguments
	root.SetIn(a.in)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	return a.report(ctx, cmd, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "stkcli",
		Short: "Manage a Statiko node, and the cluster it belongs to",
		Long: `stkcli manages a Statiko node, and the cluster it belongs to, over its REST API.

Which node: --node and --port, else STKCLI_NODE and STKCLI_PORT, else what "stkcli defaults" shows.
The key: stored by "stkcli auth psk", else NODE_KEY.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, "%v", err) })
	f := root.PersistentFlags()
	a.given = f.Changed
	f.StringVarP(&a.flags.node, "node", "N", "", "the node's address: host or host:port (short also -n, where free)")
	f.IntVarP(&a.flags.port, "port", "P", 0, "port of the node's API (short also -p)")
	f.BoolVar(&a.flags.insecure, "insecure", false, "do not check whose certificate the node shows (short -k, where free)")
	f.BoolVarP(&a.flags.http, "http", "S", false, "talk to the node without TLS")
	f.StringVar(&a.flags.fingerprint, "fingerprint", "", "trust only a node whose key has this fingerprint (sha256/…)")
	f.StringVar(&a.flags.output, "output", outputTable, "how to print results: table, json or yaml")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "say more on standard error")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputTable, outputJSON, outputYAML}, cobra.ShellCompDirectiveNoFileComp))
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		switch a.flags.output {
		case outputTable, outputJSON, outputYAML:
			return nil
		}
		output := a.flags.output
		a.flags.output = outputTable
		return usageError(cmd, "--output is table, json or yaml, not %q", output)
	}

	root.AddCommand(
		a.authCommand(), a.trustCommand(), a.defaultsCommand(), a.versionCommand(),
		a.siteCommand(), a.deployCommand(), a.appCommand(), a.certificateCommand(), a.dhparamsCommand(),
		a.stateCommand(), a.statusCommand(), a.clusterCommand(), a.nodeCommand(), a.leaderCommand(), a.storeCommand(),
	)
	finish(root)
	a.addShortForms(root)
	return root
}

// group returns a command that only has commands below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(below...)
	return c
}

// finish makes groups without a command, and arguments that no command takes, errors of the command line.
func finish(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		finish(sub)
	}
	if cmd.Runnable() {
		if cmd.Args == nil {
			cmd.Args = noArguments
		}
		return
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			_ = cmd.Help()
			return usageError(cmd, "%s needs a command", cmd.CommandPath())
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return usageError(cmd, "unknown command %q; did you mean %q?", args[0], near[0])
		}
		return usageError(cmd, "unknown command %q", args[0])
	}
	cmd.SuggestionsMinimumDistance = 2
}

// noArguments refuses arguments, with a word on the likely reason.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	f := usageError(cmd, "unexpected argument %q", args[0])
	if cmd.Flags().Changed("wait") {
		return f.withHint("--wait takes its value with an equals sign: --wait=%s", args[0])
	}
	return f
}

// addShortForms gives -n, -p and -k to every command that does not use the letter for something else.
func (a *app) addShortForms(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		a.addShortForms(sub)
	}
	if cmd.HasSubCommands() {
		return
	}
	persistent := cmd.Root().PersistentFlags()
	for letter, name := range map[string]string{"n": "node", "p": "port", "k": "insecure"} {
		if cmd.Flags().ShorthandLookup(letter) != nil {
			continue
		}
		original := persistent.Lookup(name)
		short := cmd.Flags().VarPF(alias{original}, name+"-"+letter, letter, original.Usage)
		short.Hidden = true
		short.NoOptDefVal = original.NoOptDefVal
	}
}

// userAgent is what nodes see of stkcli in their logs.
func userAgent() string { return "stkcli/" + buildVersion().Version }
