package builtin

import (
	"net/http"
	"strings"
	"time"
)

// precondition evaluates the conditional headers of a GET or HEAD in the order of RFC 9110, 13.2.2. It returns
// 304, 412, or 0 to go on. If-Range is not among them.
func precondition(h http.Header, etag string, modified time.Time) int {
	if match, ok := h["If-Match"]; ok {
		if !listed(match, etag, false) {
			return http.StatusPreconditionFailed
		}
	} else if since, ok := headerTime(h, "If-Unmodified-Since"); ok && modified.After(since) {
		return http.StatusPreconditionFailed
	}
	if match, ok := h["If-None-Match"]; ok {
		if listed(match, etag, true) {
			return http.StatusNotModified
		}
	} else if since, ok := headerTime(h, "If-Modified-Since"); ok && !modified.After(since) {
		return http.StatusNotModified
	}
	return 0
}

// headerTime returns the time in a header; a malformed one counts as absent.
func headerTime(h http.Header, name string) (time.Time, bool) {
	values := h[name]
	if len(values) == 0 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(values[0])
	return t, err == nil
}

// listed tells whether a list of entity tags has this one, which is a strong one. Tags may hold commas.
func listed(lists []string, etag string, weak bool) bool {
	for _, rest := range lists {
		for rest = strings.TrimLeft(rest, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
			if rest[0] == '*' {
				return true
			}
			tag, isWeak := strings.CutPrefix(rest, "W/")
			if tag == "" || tag[0] != '"' {
				break // malformed: the remainder says nothing
			}
			end := strings.IndexByte(tag[1:], '"')
			if end < 0 {
				break
			}
			if tag[:end+2] == etag && (weak || !isWeak) {
				return true
			}
			rest = tag[end+2:]
		}
	}
	return false
}
