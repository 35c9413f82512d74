package api

import (
	"context"
	"net/http"
	"time"
)

// CodeFrozen, 503: the node takes no changes for a while, as its state is being moved; nothing was applied.
const CodeFrozen = "frozen"

// Freeze is the body of POST /freeze.
type Freeze struct {
	// Seconds is how long changes are refused from now on, 1 to 600.
	Seconds int `json:"seconds"`
	// Token is what the first answer gave; it prolongs that freeze, if it is not over.
	Token string `json:"token,omitempty"`
	// Reason is shown to those whose changes are refused, and in the status.
	Reason string `json:"reason,omitempty"`
	// Moved, with a token, declares that the state was moved elsewhere: the node marks its file, and changes are
	// refused until it is started with another configuration.
	Moved *Moved `json:"moved,omitempty"`
}

// Moved says where the state of a node's file went, and which state that was.
type Moved struct {
	// Target says where to, for people.
	Target string `json:"target"`
	// TargetID is the id of the state there; "" if it has none.
	TargetID string `json:"targetId,omitempty"`
	// Revision and Digest are those of the state that went; the node refuses if its own differ. Digest is the
	// SHA-256, in hexadecimal, of the state document without its member keyId.
	Revision int64  `json:"revision"`
	Digest   string `json:"digest"`
}

// Frozen is the answer of POST /freeze.
type Frozen struct {
	// Token proves, to prolong or to end the freeze, who began it.
	Token string `json:"token"`
	// Until is when changes are taken again by itself; the zero time once the state was moved.
	Until time.Time `json:"until,omitzero"`
	// Revision is that of the state, which does not change as long as the freeze lasts.
	Revision int64 `json:"revision"`
	// Store is "file" or "etcd"; File is the path of the state document of a file.
	Store string `json:"store"`
	File  string `json:"file,omitempty"`
}

// Unfreeze is the body of POST /unfreeze.
type Unfreeze struct {
	Token string `json:"token,omitempty"`
	// Force ends a freeze without its token.
	Force bool `json:"force,omitempty"`
}

// Freeze makes the node refuse changes for a while, or prolongs that. Sites are served and reads answered as before.
// On return no change is under way. The error is state.ErrConflict if somebody else has frozen the node, or a
// freeze that the token began is over.
func (c *Client) Freeze(ctx context.Context, f Freeze, options ...CallOption) (*Frozen, error) {
	k := newCall(http.MethodPost, options, "freeze")
	k.accept = okOnly
	var frozen Frozen
	if err := c.call(ctx, k, f, &frozen); err != nil {
		return nil, err
	}
	return &frozen, nil
}

// Unfreeze ends a freeze. It is nothing to end one that is over.
func (c *Client) Unfreeze(ctx context.Context, u Unfreeze, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "unfreeze")
	k.accept = noContentOnly
	return c.call(ctx, k, u, nil)
}
