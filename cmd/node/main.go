// Command statiko is a Statiko node: a service that keeps its state, serves the sites in it, and is managed over a
// REST API with stkcli. "statiko --help" says how it is started.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	hostname, _ := os.Hostname()     // "" has the configuration ask for nodeName
	executable, _ := os.Executable() // "" has the node search for DH parameters in its own process
	code := run(ctx, os.Args[1:], environment{
		stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, hostname: hostname, executable: executable,
		terminal: isTerminal(os.Stderr),
	})
	os.Exit(code)
}
