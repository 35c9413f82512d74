package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"statiko/api"
	"statiko/state"
)

// Operations.
const (
	Add     = "add"
	Change  = "change"
	Remove  = "remove"
	Restore = "restore"
	// Read is a look at the state when nobody changes it any more.
	Read = "read"
	// Upload and Deploy are of bundles; see [Deployed].
	Upload = "upload"
	Deploy = "deploy"
)

// Results. A Refused call was certainly not made; of an Unknown one it is not known.
const (
	OK      = "ok"
	Exists  = "exists"
	Missing = "missing"
	Refused = "refused"
	Unknown = "unknown"
)

// Sites are domains with their aliases, sorted.
type Sites map[string][]string

// Call is one call of a client.
type Call struct {
	Client int    `json:"client"`
	Node   string `json:"node"`
	Op     string `json:"op"`
	// Domain and Aliases are of a site; Sites are a restored state, or what was read.
	Domain  string   `json:"domain,omitempty"`
	Aliases []string `json:"aliases,omitempty"`
	Sites   Sites    `json:"sites,omitempty"`
	// App is a bundle's name: what a site has from this call on.
	App string `json:"app,omitempty"`
	// Begin and End are since the recorder began.
	Begin time.Duration `json:"begin"`
	End   time.Duration `json:"end"`
	// Result is one of those above; Revision is that of the answer if it was OK.
	Result   string `json:"result"`
	Revision int64  `json:"revision,omitempty"`
	// Error is what the client was told.
	Error string `json:"error,omitempty"`
}

// Recorder keeps calls. It is safe for concurrent use.
type Recorder struct {
	began time.Time
	mu    sync.Mutex
	calls []Call
}

// NewRecorder returns a recorder whose time begins now.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

// Now is the time since the recorder began.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// Make makes a call and records it. It returns an error if the answer is one that no fault explains.
func (r *Recorder) Make(c Call, do func(*api.Answer) error) (Call, error) {
	var answer api.Answer
	slices.Sort(c.Aliases)
	c.Begin = r.Now()
	err := do(&answer)
	c.End = r.Now()
	result, fault := resultOf(err)
	c.Result = result
	if err != nil {
		c.Error = err.Error()
	}
	if result == OK {
		if c.Revision = answer.Revision; c.Revision <= 0 {
			fault = fmt.Errorf("%s %s through %s was acknowledged without a revision", c.Op, c.Domain, c.Node)
		}
	}
	r.Note(c)
	return c, fault
}

// Note records a call.
func (r *Recorder) Note(c Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

// resultOf returns what an error means for the state, and an error if it means what no fault explains.
func resultOf(err error) (string, error) {
	e, answered := errors.AsType[*api.Error](err)
	_, unanswered := errors.AsType[*api.TransportError](err)
	switch {
	case err == nil:
		return OK, nil
	case errors.Is(err, state.ErrUnknown):
		return Unknown, nil
	case errors.Is(err, state.ErrExists):
		return Exists, nil
	case errors.Is(err, state.ErrNotFound):
		return Missing, nil
	case errors.Is(err, state.ErrUnavailable), errors.Is(err, state.ErrConflict), unanswered:
		return Refused, nil
	case answered && (e.Code == api.CodeNotReady || e.Code == api.CodeFrozen || e.Code == api.CodeDiskFull):
		return Refused, nil
	}
	return Unknown, err
}

// Calls returns what was recorded so far.
func (r *Recorder) Calls() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Counts returns how many calls had which result, as "add ok".
func (r *Recorder) Counts() map[string]int {
	counts := map[string]int{}
	for _, c := range r.Calls() {
		counts[c.Op+" "+c.Result]++
	}
	return counts
}

// Summary is Counts in one line.
func (r *Recorder) Summary() string {
	counts := r.Counts()
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
	}
	return strings.Join(parts, ", ")
}

// Write writes the calls, one a line, as JSON.
func (r *Recorder) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	for _, c := range r.Calls() {
		if err := e.Encode(c); err != nil {
			return err
		}
	}
	return nil
}

// never is the end of a call whose outcome is unknown: it may happen at any time.
const never = math.MaxInt64
