package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"statiko/config"
	"statiko/dhparams"
	"statiko/node"
)

// environment is what the process gives to its commands, so that tests can give something else.
type environment struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	hostname       string
	// executable is the path of this program; "" if it is not known.
	executable string
	// terminal tells whether stderr is one.
	terminal bool
}

// Exit codes.
const (
	exitOK = 0
	// exitFault: the node could not start, or stopped because of a fault; a configuration has faults.
	exitFault = 1
	// exitUsage: the command line is wrong.
	exitUsage = 2
)

// usageError is a wrong command line.
type usageError struct{ error }

// run carries out the command line and returns the exit code.
func run(ctx context.Context, args []string, env environment) int {
	root := rootCommand(env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if faults, ok := errors.AsType[*config.FaultsError](err); ok {
		fmt.Fprintf(env.stderr, "statiko: the configuration has %d faults:\n%v\n", len(faults.Faults), faults)
		return exitFault
	}
	fmt.Fprintln(env.stderr, "statiko:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintln(env.stderr, `run "statiko --help" for what is possible`)
		return exitUsage
	}
	return exitFault
}

func rootCommand(env environment) *cobra.Command {
	var path string
	root := &cobra.Command{
		Use:   "statiko",
		Short: "Run a Statiko node",
		Long: `Run a Statiko node: keep its state, serve the sites in it, and be managed with stkcli.

The configuration is the file that --config names, or else the first node-config.yaml, .yml or .json in the folder
that CONFIG_FILE_PATH names, in /etc/statiko and, unless GO_ENV is "production", in the current folder.`,
		Example: `  statiko init                                   # write /etc/statiko/node-config.yaml
  statiko --config /etc/statiko/node-config.yaml # run the node
  statiko check --config FILE                    # say what is wrong with a configuration`,
		Args:          usageArgs(cobra.NoArgs),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return runNode(cmd.Context(), path, env) },
	}
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&path, "config", "", "configuration `file`")
	root.AddCommand(initCommand(&path, env), checkCommand(&path, env), versionCommand(env), searchCommand(env))
	return root
}

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

func initCommand(path *string, env environment) *cobra.Command {
	var nodeName, dev string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a new configuration with fresh random keys",
		Long: `Write a new, commented configuration with a random pre-shared key and a random encryption key, readable by its
owner only. A file that exists is never overwritten.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return initConfig(*path, nodeName, dev, env) },
	}
	cmd.Flags().StringVar(&nodeName, "node-name", "", "`name` of the node (default: the machine's host name)")
	cmd.Flags().StringVar(&dev, "dev", "", "configuration for development: everything below this `folder`, on loopback")
	return cmd
}

// defaultConfig is where init writes without --config.
const defaultConfig = "/etc/statiko/node-config.yaml"

// pskFile is where "init --dev" leaves the key for scripts.
const pskFile = "psk"

func initConfig(path, nodeName, dev string, env environment) error {
	o := config.InitOptions{PSK: config.NewPSK(), EncryptionKey: config.NewEncryptionKey(), NodeName: nodeName}
	if dev != "" {
		dir, err := filepath.Abs(dev)
		if err != nil {
			return err
		}
		o.Dev, o.DevDir = true, dir
		if path == "" {
			path = filepath.Join(dir, "node-config.yaml")
		}
	} else if path == "" {
		path = defaultConfig
	}
	if err := config.WriteInit(path, config.InitFile(o)); err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "wrote %s\n", path)
	if o.Dev {
		return config.WriteInit(filepath.Join(o.DevDir, pskFile), []byte(o.PSK+"\n"))
	}
	fmt.Fprintf(env.stdout, `
Next:
  statiko check --config %[1]s   # after changing it
  statiko --config %[1]s         # run the node
  stkcli auth psk                %[2]s# on the machine you manage it from: asks for auth.psk.key of the file

Keep a copy of secretsEncryptionKey in a safe place: without it, a backup of the state cannot be opened.
`, path, strings.Repeat(" ", max(0, len(path)-15+9)))
	return nil
}

func checkCommand(path *string, env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with a configuration",
		Long: `Read the configuration as a start would, and list every fault with file, line and key. If that has none, connect to
each endpoint of etcd and to the object store that it names, and say which cannot be used and why. Nothing is changed.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(*path, env)
			if err != nil {
				return err
			}
			if err := node.Check(cmd.Context(), c); err != nil {
				return err
			}
			from := c.File
			if from == "" {
				from = "the environment"
			}
			fmt.Fprintf(env.stdout, "%s: the configuration is valid\n", from)
			return nil
		},
	}
}

func versionCommand(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  usageArgs(cobra.NoArgs),
		Run:   func(*cobra.Command, []string) { fmt.Fprintln(env.stdout, version()) },
	}
}

// searchName is the command that a node runs as a process of its own to make Diffie-Hellman parameters, with
// [dhparams.Child]. It is not for people: they have "stkcli dhparams generate".
const searchName = "search-dhparams"

func searchCommand(env environment) *cobra.Command {
	return &cobra.Command{
		Use:    searchName + " BITS WORKERS",
		Short:  "Search for Diffie-Hellman parameters; the node runs this itself",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return dhparams.RunChild(cmd.Context(), args, cmd.InOrStdin(), env.stdout)
		},
	}
}

// version tells what was built, from what the Go tool recorded.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return node.Version(info)
}

// loadConfig reads the configuration and prints the warnings.
func loadConfig(path string, env environment) (*config.Config, error) {
	c, warnings, err := config.Load(config.Options{
		Path: path, Env: env.getenv, Production: config.IsProduction(env.getenv, ""), Hostname: env.hostname,
	})
	for _, w := range warnings {
		fmt.Fprintln(env.stderr, "warning:", w)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// runNode runs a node until ctx ends.
func runNode(ctx context.Context, path string, env environment) (err error) {
	c, err := loadConfig(path, env)
	if err != nil {
		return err
	}
	log, err := newLogger(c.Log, env)
	if err != nil {
		return err
	}
	defer log.Sync() //nolint:errcheck // a terminal cannot be synced, and there is nothing to do about it
	o := node.Options{Version: version(), Log: log}
	if env.executable != "" {
		o.SearchDH = dhparams.Child(env.executable, searchName)
	}
	n, err := node.New(c, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	return n.Run(ctx)
}
