package builtin

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"statiko/bundle"
)

// ruleEffect is what a manifest's rule does to the header of an answer, prepared.
type ruleEffect struct {
	set []headerLine
	// maxAge is for how long clients may keep the answer; caching tells whether the rule says so.
	maxAge  time.Duration
	caching bool
	// cacheControl is nil if the rule sets it by itself.
	cacheControl []string
	// encoded: the rule says which encoding the files have, so that no other form may be sent.
	encoded bool
}

type headerLine struct {
	name   string
	values []string
}

// ruleEffects prepares all rules that have an effect.
func ruleEffects(m *bundle.Manifest) map[*bundle.Rule]*ruleEffect {
	if m == nil {
		return nil
	}
	var effects map[*bundle.Rule]*ruleEffect
	for i := range m.Rules {
		r := &m.Rules[i]
		if len(r.Options.Headers) == 0 && r.Options.ClientCaching <= 0 {
			continue
		}
		if effects == nil {
			effects = make(map[*bundle.Rule]*ruleEffect)
		}
		effects[r] = newRuleEffect(r.Options)
	}
	return effects
}

func newRuleEffect(o bundle.Options) *ruleEffect {
	// A Cache-Control of the rule's own says all that there is to say: an Expires beside it could only contradict it.
	own := slices.ContainsFunc(o.Headers, func(h bundle.Header) bool { return strings.EqualFold(h.Name, "Cache-Control") })
	e := &ruleEffect{maxAge: o.ClientCaching, caching: o.ClientCaching > 0 && !own}
	if e.caching {
		e.cacheControl = []string{"max-age=" + strconv.FormatInt(int64(o.ClientCaching/time.Second), 10) + ", public"}
	}
	for _, h := range o.Headers {
		name := http.CanonicalHeaderKey(h.Name)
		switch name {
		case "Content-Length", "Transfer-Encoding", "Connection", "Etag", "Trailer", "Upgrade":
			continue // ours to decide; a manifest cannot name them, see package bundle
		case "Content-Encoding":
			e.encoded = true
		}
		line := headerLine{name: name, values: []string{h.Value}}
		if h.Value == "" {
			line.values = nil // not sent; one of a proxied host is taken away
		}
		e.set = append(e.set, line)
	}
	return e
}

// apply changes the header of an answer with this status. Like nginx, it leaves errors alone.
func (e *ruleEffect) apply(h http.Header, status int) {
	if e == nil || !decorated(status) {
		return
	}
	if e.caching {
		h["Cache-Control"] = e.cacheControl
		h["Pragma"] = publicPragma[:]
		h["Expires"] = []string{time.Now().Add(e.maxAge).UTC().Format(http.TimeFormat)}
	}
	for _, line := range e.set {
		switch {
		case line.values == nil && line.name != "Vary":
			delete(h, line.name)
		case line.name == "Vary" && len(h["Vary"]) > 0:
			h["Vary"] = append(h["Vary"][:1:1], line.values...) // ours must stay, else caches mix the forms up
		case line.name == "Location" && status/100 == 3 && len(h["Location"]) > 0:
			// a redirect to somewhere else would be a different answer
		case line.name == "Content-Type" && status == http.StatusPartialContent:
			// that of several ranges is multipart; see contentType
		default:
			h[line.name] = line.values
		}
	}
}

// contentType returns the rule's Content-Type, or else the given one.
func (e *ruleEffect) contentType(values []string) []string {
	if e != nil {
		for _, line := range e.set {
			if line.name == "Content-Type" {
				return line.values
			}
		}
	}
	return values
}

// decorated are the statuses on which nginx's add_header has an effect.
func decorated(status int) bool {
	switch status {
	case 200, 201, 204, 206, 301, 302, 303, 304, 307, 308:
		return true
	}
	return false
}

// Header values that never change.
var (
	publicPragma   = [...]string{"public"}
	varyEncoding   = [...]string{"Accept-Encoding"}
	acceptRanges   = [...]string{"bytes"}
	noIndex        = [...]string{"noindex"}
	noCache        = [...]string{"no-cache"}
	allowedMethods = [...]string{"GET, HEAD"}
	closing        = [...]string{"close"}
)
