// Command stkcli manages a Statiko node over its REST API. All of it is in package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"statiko/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	home, _ := os.UserHomeDir() // without one, cli says what to do when it is needed
	stdin := int(os.Stdin.Fd())
	// Asking for a key without echo may be interrupted; the terminal must show again what is typed.
	before, err := term.GetState(stdin)
	code := cli.Run(ctx, os.Args[1:], cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv:         os.Getenv,
		Home:           home,
		StdinTerminal:  term.IsTerminal(stdin),
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		ReadSecret: func() (string, error) {
			b, err := term.ReadPassword(stdin)
			return string(b), err
		},
	})
	if err == nil {
		_ = term.Restore(stdin, before)
	}
	os.Exit(code)
}
