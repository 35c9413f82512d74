package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/secret"
	"statiko/state"
)

func (a *app) stateCommand() *cobra.Command {
	var out string
	get := &cobra.Command{
		Use: "get", Short: "Back the whole state up",
		Long: `Writes the state document: sites, bundles' descriptions, sealed secrets, Diffie-Hellman parameters. A file is
replaced only when the document is complete, and only its owner can read it.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.stateGet(cmd.Context(), out) },
	}
	get.Flags().StringVarP(&out, "out", "o", "", "file to write; standard output without it")
	var s stateSet
	set := &cobra.Command{
		Use: "set", Short: "Replace the whole state",
		Long: `Replaces the whole state by the document, at once: what it lacks is removed. A faulty document changes nothing, and
each of its faults is named. On a terminal you are asked first if sites would be removed.

The node must have the encryption key that the document's secrets are sealed with, or be given it: --source-key names
a file with that key (secretsEncryptionKey of the node that the document is from); "-" has stkcli ask for it. The node
seals the secrets with its own key, and keeps the other one nowhere.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.stateSet(cmd.Context(), s) },
	}
	f := set.Flags()
	f.StringVarP(&s.file, "file", "f", "", "file with the document; standard input without it")
	f.BoolVar(&s.dryRun, "dry-run", false, "only show what would change")
	f.StringVar(&s.sourceKey, "source-key", "", `file with the encryption key of the document, if it is not the node's; "-" to be asked for it`)
	f.BoolVar(&s.yes, "yes", false, "do not ask")
	sync := &cobra.Command{
		Use: "sync", Short: "Make the node look again whether all is as the state says",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			return a.change(ctx, c, "", "make the node look again", func(o ...api.CallOption) error { return c.Sync(ctx, o...) })
		},
	}
	return group("state", "Back up and restore the state", get, a.changes(set), a.migrateCommand(), a.changes(sync))
}

func (a *app) stateGet(ctx context.Context, out string) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if out == "" || out == "-" {
		return a.stateError(c.State(ctx, a.Stdout), "standard output")
	}
	err = writeFile(out, func(w io.Writer) error { return c.State(ctx, w) })
	if err == nil {
		a.say("the state is in %s", out)
	}
	return a.stateError(err, out)
}

// stateError tells errors of the node from those of writing.
func (a *app) stateError(err error, out string) error {
	if err == nil {
		return nil
	}
	_, answered := errors.AsType[*api.Error](err)
	_, unanswered := errors.AsType[*api.TransportError](err)
	if answered || unanswered {
		return a.nodeError(err, "get the state")
	}
	return localError(err, "could not write the state to %s", out)
}

// stateSet is what "state set" was given.
type stateSet struct {
	file, sourceKey string
	dryRun, yes     bool
}

func (a *app) stateSet(ctx context.Context, s stateSet) error {
	var doc io.Reader = a.in
	size := int64(-1)
	fromFile := s.file != "" && s.file != "-"
	if fromFile {
		f, err := os.Open(s.file)
		if err != nil {
			return userError("--file: %v", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil || info.IsDir() {
			return userError("%s is no file that can be read", s.file)
		}
		if info.Mode().IsRegular() {
			size = info.Size()
		}
		doc = f
	}
	key, err := a.sourceKey(ctx, s.sourceKey, fromFile)
	if err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if key != nil {
		// An earlier node would take the document with secrets that it cannot open.
		if err := c.CanCompare(ctx); err != nil {
			return a.nodeError(err, "replace the state, which is as it was")
		}
	}
	if s.dryRun {
		d, err := c.CompareState(ctx, doc, size, key...)
		if err != nil {
			return a.nodeError(err, "compare the states")
		}
		return a.print(d, func(t *table) { t.differences(d) })
	}
	// Only a file can be read twice; a script is not asked.
	if seeker, ok := doc.(io.Seeker); ok && size >= 0 && a.person() && !s.yes {
		if err := a.confirmRestore(ctx, c, doc, size, key); err != nil {
			return err
		}
		if _, err := seeker.Seek(0, io.SeekStart); err != nil {
			return localError(err, "could not read %s again", s.file)
		}
	}
	err = a.change(ctx, c, "", "replace the state, which is as it was", func(o ...api.CallOption) error {
		return c.SetState(ctx, doc, size, append(o, key...)...)
	})
	if f, ok := errors.AsType[*failure](err); ok && errors.Is(err, state.ErrUnknown) {
		f.message = "could not learn whether the state was replaced"
	}
	if err == nil {
		a.say("the state is replaced")
	}
	return err
}

// sourceKey reads the encryption key of a document, which is checked before it is sent to anybody. Without a flag there
// is none.
func (a *app) sourceKey(ctx context.Context, from string, stdinFree bool) ([]api.CallOption, error) {
	const what = "--source-key"
	if from == "" {
		return nil, nil
	}
	if t, err := a.target(); err != nil {
		return nil, err
	} else if t.http {
		return nil, userError("%s is not sent without TLS, where everybody on the way could read it", what)
	}
	var text string
	if from == "-" {
		if !stdinFree {
			return nil, userError("%s - reads the key from where the document comes from", what).withHint("name the document with --file")
		}
		var err error
		if text, err = a.askSecret(ctx, "Encryption key of the document"); err != nil {
			return nil, err
		}
	} else {
		b, err := os.ReadFile(from)
		if err != nil {
			return nil, userError("%s: %v", what, err)
		}
		text = strings.TrimSpace(string(b))
	}
	if _, err := secret.NewKeyring(text); err != nil {
		return nil, userError("%s: %v", what, err).withHint("it is secretsEncryptionKey in the configuration of the node that the document is from")
	}
	return []api.CallOption{api.SourceKey(text)}, nil
}

// confirmRestore asks if sites would be removed.
func (a *app) confirmRestore(ctx context.Context, c *api.Client, doc io.Reader, size int64, key []api.CallOption) error {
	d, err := c.CompareState(ctx, doc, size, key...)
	if errors.Is(err, api.ErrCannotCompare) {
		return a.confirm(ctx, false, "This node cannot tell what would change. Replace its whole state?")
	}
	if err != nil {
		return a.nodeError(err, "replace the state, which is as it was")
	}
	sites := d.Removed[string(state.KindSite)]
	if len(sites) == 0 {
		return nil
	}
	shown, more := sites, ""
	if len(shown) > 20 {
		shown, more = shown[:20], fmt.Sprintf("\n  … and %d more", len(sites)-20)
	}
	fmt.Fprintf(a.Stderr, "These sites are not in the document:\n  %s%s\n", strings.Join(shown, "\n  "), more)
	return a.confirm(ctx, false, "Replace the state, and remove these %d sites?", len(sites))
}

// differences writes what a restore would change.
func (t *table) differences(d *api.StateDryRun) {
	any := false
	for _, part := range []struct {
		sign  string
		names map[string][]string
	}{{"+", d.Added}, {"~", d.Changed}, {"-", d.Removed}} {
		for _, kind := range slices.Sorted(maps.Keys(part.names)) {
			for _, name := range part.names[kind] {
				any = true
				t.line("%s", strings.TrimSpace(part.sign+" "+kind+" "+name))
			}
		}
	}
	if !any {
		t.line("Nothing would change.")
	}
}
