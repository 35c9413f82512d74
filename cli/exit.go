package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/state"
)

// Exit codes.
const (
	// ExitOK: done.
	ExitOK = 0
	// ExitLocal: something on this machine failed, such as reading a file.
	ExitLocal = 2
	// ExitNode: the node refused, answered unexpectedly, or could not be reached; or its key is not the known one.
	ExitNode = 3
	// ExitUser: what was given cannot be right, was not confirmed, or needs somebody's decision; no credentials.
	ExitUser = 4
	// ExitNotApplied: with --wait, the change is stored but was not applied in time.
	ExitNotApplied = 5
	// ExitUnhealthy: with --exit-code, "status" found something that is not well.
	ExitUnhealthy = 6
	// ExitNotVerified: "app verify" found a signature that does not verify, or none.
	ExitNotVerified = 7
	// ExitUsage: the command line is wrong: an unknown command or flag, or a required one is missing.
	ExitUsage = 10
	// ExitInterrupted: ended by a signal.
	ExitInterrupted = 130
)

// failure is an error with its exit code, and what to do about it.
type failure struct {
	code    int
	message string
	// cause may be nil.
	cause error
	// hint is a next step; may be empty.
	hint string
}

func (f *failure) Error() string {
	if f.cause != nil {
		return f.message + ": " + f.cause.Error()
	}
	return f.message
}

func (f *failure) Unwrap() error { return f.cause }

func (f *failure) withHint(format string, args ...any) *failure {
	f.hint = fmt.Sprintf(format, args...)
	return f
}

func userError(format string, args ...any) *failure {
	return &failure{code: ExitUser, message: fmt.Sprintf(format, args...)}
}

func localError(cause error, format string, args ...any) *failure {
	return &failure{code: ExitLocal, message: fmt.Sprintf(format, args...), cause: cause}
}

func usageError(cmd *cobra.Command, format string, args ...any) *failure {
	f := &failure{code: ExitUsage, message: fmt.Sprintf(format, args...)}
	return f.withHint("%s --help", cmd.CommandPath())
}

// nodeError makes the error of a call from what the client returned. Doing is what was tried, such as "add the
// site".
func (a *app) nodeError(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if m, ok := errors.AsType[*api.PinMismatchError](err); ok {
		return a.changedKey(m)
	}
	f := &failure{code: ExitNode, message: "could not " + fmt.Sprintf(format, args...), cause: err}
	f.hint = a.hint(err)
	return f
}

// hint returns the next step after an error of the client; "" if there is no good one.
func (a *app) hint(err error) string {
	address := ""
	if t, err := a.target(); err == nil {
		address = t.address()
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		switch {
		case e.Status == 401:
			return "the key is not the node's: store the right one with stkcli auth psk --node " + address
		case e.Status == 400 && strings.Contains(e.Message, "HTTPS server"):
			return "the node talks TLS: run again without --http (and STKCLI_HTTP)"
		case e.Code == api.CodeTooMany && e.RetryAfter > 0:
			return fmt.Sprintf("too many wrong keys came from here; try again in %v", e.RetryAfter)
		case e.Code == api.CodeUnknown:
			return "see with stkcli status, site get or app list whether it was made, then run the command again"
		case e.Code == api.CodeReplicas:
			return "stkcli node list shows which nodes are down; upload again when they are back, or with repo.strictReplicas: false"
		case e.Code == api.CodeUnavailable, e.Code == api.CodeNotReady:
			return "stkcli status says why the node cannot take changes; sites are served meanwhile"
		case e.Code == api.CodeConflict && e.Status == 409:
			return "others changed the same objects; run the command again"
		case e.Code == api.CodeInUse:
			return "stkcli site list shows what uses it"
		case e.Code == api.CodeForeignKey:
			return "the node needs the key that the document was made with: give it with --source-key, or add it to secretsEncryptionOldKeys"
		}
		return ""
	}
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	_, noName := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, state.ErrUnknown):
		return "see with stkcli status, site get or app list whether it was made, then run the command again"
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("is the node running, and is its API at %s? --node and --port say where; stkcli defaults stores it", address)
	case notTLS:
		return "nobody talks TLS there: is the port right? If the node is meant to talk without TLS, add --http"
	case noName:
		return "is the node's name spelled right? --node HOST[:PORT]"
	}
	return ""
}

// report prints the error and returns its exit code.
func (a *app) report(ctx context.Context, cmd *cobra.Command, err error) int {
	f, ok := errors.AsType[*failure](err)
	switch {
	case ctx.Err() != nil:
		f = &failure{code: ExitInterrupted, message: "interrupted"}
		if errors.Is(err, state.ErrUnknown) {
			f.message = "interrupted; the change was sent and may have been made"
		}
	case !ok:
		// Whatever is no failure comes from reading the command line.
		f = usageError(cmd, "%v", err)
	}
	if a.flags.output != outputTable {
		a.reportData(f)
		return f.code
	}
	prefix := map[int]string{
		ExitLocal: "[Fatal error] ", ExitNode: "[Node error] ", ExitUser: "[Error] ", ExitNotApplied: "[Not applied yet] ",
		ExitUnhealthy: "[Unhealthy] ", ExitNotVerified: "[Not verified] ",
	}[f.code]
	fmt.Fprintf(a.Stderr, "%s%s\n", a.paint(red, prefix), f.message)
	if f.cause != nil {
		fmt.Fprintln(a.Stderr, causeText(f.cause))
	}
	if f.hint != "" {
		fmt.Fprintf(a.Stderr, "hint: %s\n", f.hint)
	}
	return f.code
}

// causeText returns the cause, for an answer of a node with its status and code, and each fault on its own line.
func causeText(err error) string {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		return err.Error()
	}
	lines := []string{fmt.Sprintf("%s (status %d, %s)", e.Message, e.Status, e.Code)}
	for _, d := range e.Details {
		if d.Message != e.Message || d.Line > 0 {
			lines = append(lines, "  "+d.String())
		}
	}
	return strings.Join(lines, "\n")
}

// reportData prints the error in the format asked for, to standard error, in the shape of the API's errors.
func (a *app) reportData(f *failure) {
	out := struct {
		Message string       `json:"error"`
		Code    string       `json:"code,omitempty"`
		Status  int          `json:"status,omitempty"`
		Cause   string       `json:"cause,omitempty"`
		Details []api.Detail `json:"details,omitempty"`
		Hint    string       `json:"hint,omitempty"`
		Exit    int          `json:"exit"`
	}{Message: f.message, Hint: f.hint, Exit: f.code}
	if f.cause != nil {
		out.Cause = f.cause.Error()
	}
	if e, ok := errors.AsType[*api.Error](f.cause); ok {
		out.Cause, out.Code, out.Status, out.Details = e.Message, e.Code, e.Status, e.Details
	}
	// If standard error is gone there is nobody left to tell.
	_ = encode(a.Stderr, a.flags.output, out)
}
