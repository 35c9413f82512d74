package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"statiko/api"
)

// waitFlag is the value of --wait: seconds, or a duration such as 2m; 0 is no waiting.
type waitFlag time.Duration

func (w *waitFlag) String() string {
	if *w == 0 {
		return ""
	}
	return time.Duration(*w).String()
}

func (w *waitFlag) Type() string { return "seconds" }

func (w *waitFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if n, e := strconv.Atoi(s); e == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 {
		return errors.New("seconds, or a duration such as 2m, are expected")
	}
	*w = waitFlag(d)
	return nil
}

// defaultWait is how long --wait waits without a value, in seconds.
const defaultWait = "60"

// changes marks a command as one that changes the state: it can wait until the change is applied.
func (a *app) changes(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags().VarPF(&a.flags.wait, "wait", "", "wait until the change is applied, at most so many seconds (60 without a value)")
	f.NoOptDefVal = defaultWait
	return cmd
}

// change makes a call that changes the state, waits if asked for, and tells why if it was not applied in time.
// Domain is the site that changes; "" if it is not one site.
func (a *app) change(ctx context.Context, c *api.Client, domain, doing string, call func(...api.CallOption) error) error {
	_, err := a.changeIn(ctx, c, time.Duration(a.flags.wait), domain, doing, call)
	return err
}

// changeIn is change with the time to wait, and returns what the answer says.
func (a *app) changeIn(ctx context.Context, c *api.Client, wait time.Duration, domain, doing string, call func(...api.CallOption) error) (api.Answer, error) {
	var answer api.Answer
	err := call(api.Wait(wait), api.Observe(&answer))
	if err != nil {
		return answer, a.nodeError(err, "%s", doing)
	}
	if wait == 0 || answer.Applied != nil && *answer.Applied {
		return answer, nil
	}
	if answer.Applied == nil {
		return answer, &failure{code: ExitNotApplied, message: "the change is stored, but this node does not say when it is applied",
			hint: "stkcli status shows it; nodes of the earlier program cannot wait"}
	}
	if len(answer.Waiting) > 0 {
		return answer, notApplied(answer, wait)
	}
	f := &failure{code: ExitNotApplied, message: fmt.Sprintf("the change is stored, but was not applied within %v", wait),
		hint: "it will be applied without further help once the reason is gone; stkcli status shows it"}
	if why := a.whyNotApplied(ctx, c, domain); why != "" {
		f.cause = errors.New(why)
	}
	return answer, f
}

// notApplied names the nodes that have not applied a change, and why.
func notApplied(answer api.Answer, wait time.Duration) *failure {
	f := &failure{code: ExitNotApplied, message: fmt.Sprintf("the change is stored, but these nodes have not applied it within %v", wait),
		hint: "they will without further help once the reason is gone; stkcli cluster status shows it"}
	lines, present := []string{}, false
	for _, w := range answer.Waiting {
		line := w.Node
		if w.Absent {
			line += " (absent)"
		}
		if w.Reason != "" {
			line += ": " + w.Reason
		}
		present = present || !w.Absent
		lines = append(lines, line)
	}
	if answer.WaitingMore > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", answer.WaitingMore))
	}
	if !present && answer.WaitingMore == 0 {
		f.message = "the change is stored, and applied by every node that is up, but these nodes are absent"
		f.hint = "they apply it when they come back; stkcli node remove forgets one that will not"
	}
	f.cause = errors.New(strings.Join(lines, "\n"))
	return f
}

// whyNotApplied asks the node; "" if it does not know either.
func (a *app) whyNotApplied(ctx context.Context, c *api.Client, domain string) string {
	s, err := c.Status(ctx, domain, false)
	if err != nil && domain != "" {
		// A site that was removed has no status of its own.
		s, err = c.Status(ctx, "", false)
	}
	if err != nil {
		return "the node's status could not be had: " + err.Error()
	}
	var reasons []string
	if s.Sync.SyncError != "" {
		reasons = append(reasons, s.Sync.SyncError)
	}
	if !s.Nginx.Running {
		reasons = append(reasons, strings.TrimSuffix("the web server is not running: "+s.Nginx.Error, ": "))
	}
	for _, h := range s.Health {
		if h.Error != "" {
			reasons = append(reasons, h.Domain+": "+h.Error)
		}
	}
	if len(reasons) == 0 && s.Sync.Running {
		reasons = append(reasons, fmt.Sprintf("the node has applied revision %d of %d", s.Sync.Revision, s.Store.Revision))
	}
	return strings.Join(reasons, "\n")
}
