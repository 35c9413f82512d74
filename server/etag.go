package server

import (
	"fmt"
	"strings"

	"statiko/state"
)

// etag returns the entity tag (RFC 9110, section 8.8.3) of an object whose last change was at the revision, or of
// the whole state at it. The generation keeps tags of two states apart whose revisions are the same.
func etag(generation, revision int64) string {
	return fmt.Sprintf(`"%d-%d"`, generation, revision)
}

// setETag sends the tag of an object.
func (c *call) setETag(generation, revision int64) {
	c.w.Header().Set("ETag", etag(generation, revision))
}

// matches tells whether the request's If-Match, if it has one, admits the tag. Weak tags never match.
func (c *call) matches(tag string) bool {
	values := c.r.Header.Values("If-Match")
	if len(values) == 0 {
		return true
	}
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if part = strings.TrimSpace(part); part == "*" || part == tag {
			return true
		}
	}
	return false
}

// checkMatch refuses the draft's update unless If-Match admits the object, which exists.
func (c *call) checkMatch(d *state.Draft, k state.Key) error {
	if len(c.r.Header.Values("If-Match")) == 0 {
		return nil // not noting that the object was read lets others change it meanwhile
	}
	if tag := etag(d.Snapshot().Head().Generation, d.Revision(k)); !c.matches(tag) {
		return state.Errorf(state.ErrPrecondition, k, "", "the object was changed meanwhile: its tag is %s now", tag)
	}
	return nil
}
