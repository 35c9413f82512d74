package cli

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress returns what to call with every number of bytes read, and what to call in the end. There is a bar only
// on a terminal.
func (a *app) progress(doing string, total int64) (add func(int), done func()) {
	if !a.StderrTerminal || a.flags.output != outputTable {
		return func(int) {}, func() {}
	}
	bar := progressbar.NewOptions64(max(total, 1),
		progressbar.OptionSetWriter(a.Stderr), progressbar.OptionSetDescription(doing),
		progressbar.OptionShowBytes(true), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionUseIECUnits(true))
	// What the bar cannot write is no reason to stop.
	return func(n int) { _ = bar.Add(n) }, func() { _ = bar.Finish(); _ = bar.Close() }
}
