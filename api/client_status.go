package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
)

// Info tells how the node authenticates and what it is. It needs no credentials.
func (c *Client) Info(ctx context.Context, options ...CallOption) (*Info, error) {
	var info Info
	if err := c.call(ctx, newCall(http.MethodGet, options, "info"), nil, &info); err != nil {
		return nil, err
	}
	return &info, nil
}

// Status tells how the node is or, with a domain or alias, the node and that site. Force makes the node look at
// everything anew. A node that is not well answers 503 with the same body, which is no error here; see
// [Answer.Status].
func (c *Client) Status(ctx context.Context, domain string, force bool, options ...CallOption) (*Status, error) {
	segments := []string{"status"}
	if domain != "" {
		segments = append(segments, domain)
	}
	k := newCall(http.MethodGet, options, segments...)
	if force {
		k.query.Set("force", "1")
	}
	k.accept = []int{http.StatusOK, http.StatusServiceUnavailable}
	resp, err := c.send(ctx, k, nil)
	if err != nil {
		return nil, err
	}
	var status Status
	if resp.StatusCode == http.StatusServiceUnavailable {
		return readUnwell(resp)
	}
	if err := c.decode(k, resp, &status); err != nil {
		return nil, err
	}
	return status.filled(), nil
}

// readUnwell reads an answer 503: a status, or the error of a node that is not ready or of a proxy without a node.
func readUnwell(resp *http.Response) (*Status, error) {
	defer resp.Body.Close()
	// What cannot be read is no status; then the error says what the beginning says.
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxJSONBody))
	var members map[string]json.RawMessage
	var status Status
	if json.Unmarshal(b, &members) == nil && members["nginx"] != nil && json.Unmarshal(b, &status) == nil {
		return status.filled(), nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return nil, readError(resp)
}

// filled makes the list of sites an empty one where the earlier program's nodes send null.
func (s *Status) filled() *Status {
	if s.Health == nil {
		s.Health = []SiteHealth{}
	}
	return s
}

// ClusterStatus returns the status of every member, by the member's id.
func (c *Client) ClusterStatus(ctx context.Context, options ...CallOption) (map[string]MemberStatus, error) {
	members := map[string]MemberStatus{}
	if err := c.call(ctx, newCall(http.MethodGet, options, "clusterstatus"), nil, &members); err != nil {
		return nil, err
	}
	return members, nil
}
