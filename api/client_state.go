package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// State copies the state document to w as it comes. After an error w has a part of it.
func (c *Client) State(ctx context.Context, w io.Writer, options ...CallOption) error {
	resp, err := c.send(ctx, newCall(http.MethodGet, options, "state"), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(onlyWriter{w}, onlyReader{resp.Body, c})
	return err
}

// onlyReader tells errors of the node's answer from those of the writer.
type onlyReader struct {
	r io.Reader
	c *Client
}

func (r onlyReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err != nil && err != io.EOF {
		err = r.c.broken(http.MethodGet, err)
	}
	return n, err
}

// onlyWriter hides the writer's ReadFrom, which would wrap errors of the reader.
type onlyWriter struct{ io.Writer }

// SetState replaces the state by the document in r, of the given size in bytes (-1 if unknown: it is sent in
// chunks). A faulty one is a [*state.InvalidError] that names every fault, and changes nothing.
//
// [*state.InvalidError]: statiko/state.InvalidError
func (c *Client) SetState(ctx context.Context, r io.Reader, size int64, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "state")
	k.accept = noContentOnly
	resp, err := c.send(ctx, k, &body{r: r, contentType: "application/json", size: size})
	if err != nil {
		return err
	}
	return c.decode(k, resp, nil)
}

// ErrCannotCompare says that a node does not know how to compare states.
var ErrCannotCompare = errors.New("the node runs an earlier version, which cannot compare states")

// CanCompare returns nil if the node knows [Client.CompareState], else why it does not: [ErrCannotCompare], or that it
// cannot be asked.
func (c *Client) CanCompare(ctx context.Context) error {
	var seen Answer
	if _, err := c.Info(ctx, Observe(&seen)); err != nil {
		return err
	}
	if seen.Revision < 0 {
		return fmt.Errorf("%s: %w", c.Address(), ErrCannotCompare)
	}
	return nil
}

// CompareState tells what [Client.SetState] would change, with the same faults, and changes nothing.
// It does not ask a node of the earlier program, which would not compare but replace: [ErrCannotCompare].
func (c *Client) CompareState(ctx context.Context, r io.Reader, size int64, options ...CallOption) (*StateDryRun, error) {
	if err := c.CanCompare(ctx); err != nil {
		return nil, err
	}
	k := newCall(http.MethodPost, options, "state")
	k.query.Set("dryRun", "1")
	k.accept = okOnly
	resp, err := c.send(ctx, k, &body{r: r, contentType: "application/json", size: size})
	if err != nil {
		return nil, err
	}
	var d StateDryRun
	if err := c.decode(k, resp, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

// Sync makes the node look again whether all is as the state says.
func (c *Client) Sync(ctx context.Context, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "sync")
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}
