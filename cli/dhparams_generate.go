package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/dhparams"
)

func (a *app) dhparamsGenerateCommand() *cobra.Command {
	var bits int
	var out string
	cmd := &cobra.Command{
		Use: "generate", Short: "Make Diffie-Hellman parameters on this machine",
		Long: `Make Diffie-Hellman parameters on this machine: a random safe prime, and the generator 2. No node is asked. All
processors are used, at low priority.

How long it takes is chance: often half as long as on average, now and then four times as long.`,
		Example: `  stkcli dhparams generate --bits 4096 --out dh.pem && stkcli dhparams set -f dh.pem`,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.dhparamsGenerate(cmd.Context(), bits, out) },
	}
	cmd.Flags().IntVar(&bits, "bits", 4096, "size of the prime")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write (default: standard output)")
	return cmd
}

func (a *app) dhparamsGenerate(ctx context.Context, bits int, out string) error {
	if bits < dhparams.MinWeakBits || bits > dhparams.MaxBits {
		return userError("--bits: primes of %d bits are not made: %d to %d are possible", bits, dhparams.MinBits, dhparams.MaxBits)
	}
	if bits < dhparams.MinBits {
		a.warn("%d bits can be broken, and web servers refuse them: at least %d are needed", bits, dhparams.MinBits)
	}
	if out != "" { // not after minutes
		if _, err := os.Stat(filepath.Dir(out)); err != nil {
			return localError(err, "could not write the parameters to %s", out)
		}
	}
	began := time.Now()
	progress, done := a.searchProgress()
	p, err := dhparams.Generate(ctx, dhparams.Options{Bits: bits, Progress: progress})
	done()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return localError(err, "could not make parameters of %d bits", bits)
	}
	if out == "" {
		_, err = io.WriteString(a.Stdout, p.PEM())
		out = "standard output"
	} else {
		err = writeFile(out, func(w io.Writer) error { _, err := io.WriteString(w, p.PEM()); return err })
	}
	if err != nil {
		return localError(err, "could not write the parameters to %s", out)
	}
	a.say("made parameters of %d bits in %s", bits, elapsed(time.Since(began)))
	return nil
}

// searchProgress returns what to call with the progress of a search, and what to call in the end. There is a bar only
// on a terminal. What it shows is the probability to be done by now, which grows ever more slowly and does not pass
// the end.
func (a *app) searchProgress() (show func(dhparams.Progress), done func()) {
	if !a.StderrTerminal {
		return nil, func() {}
	}
	const steps = 1000
	bar := progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(a.Stderr), progressbar.OptionSetWidth(30), progressbar.OptionSetDescription("sieving"),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
	// What the bar cannot write is no reason to stop.
	_ = bar.RenderBlank()
	show = func(p dhparams.Progress) {
		if p.Tried > 0 {
			bar.Describe(tried(p.Tried, int64(p.Expected), p.Elapsed))
		}
		_ = bar.Set(min(int(steps*p.Chance()), steps-1))
	}
	return show, func() { _ = bar.Finish(); _ = bar.Close() }
}

// tried says how far a search has come.
func tried(n, expected int64, d time.Duration) string {
	return fmt.Sprintf("%d candidates tried, %d expected on average, %s", n, expected, elapsed(d))
}

func elapsed(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// generatingText says whether the node makes parameters, and how far that has come if the node tells.
func generatingText(p *api.DHParams) string {
	text := yesNo(p.Generating)
	if p.Generating && p.Expected > 0 {
		text += " (" + tried(p.Tried, p.Expected, time.Duration(p.Elapsed*float64(time.Second))) + ")"
	}
	return text
}
