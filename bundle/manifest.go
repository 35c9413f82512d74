package bundle

import (
	"net/url"
	"regexp"
	"time"
)

// Manifest is what a bundle says about how it is to be served: the parsed form of the file that the
// configuration key manifestFile names (by default "_statiko.yaml") in the bundle's root. A Manifest is
// immutable and safe for concurrent use. Its zero value asks for nothing.
type Manifest struct {
	// Rules stand in the order written.
	Rules []Rule
	// Rewrites stand in the order written.
	Rewrites []Rewrite
	// Page403 and Page404 are the error pages, as a slash-separated path relative to the bundle's root
	// without a leading slash; "" means none.
	Page403, Page404 string

	// name is the file's name, for messages.
	name string
	// index answers Select quickly; nil in manifests that were not parsed, which are searched rule by rule.
	index *ruleIndex
}

// A Matcher is the kind of condition that a rule has.
type Matcher string

// The matchers, named as in the manifest.
const (
	MatchExact  Matcher = "exact"  // the whole path
	MatchPrefix Matcher = "prefix" // the path's beginning
	MatchRegexp Matcher = "match"  // an RE2 pattern, case-insensitive unless caseSensitive
	MatchFile   Matcher = "file"   // the path's extension, by list or by group (_images, _videos, _audios, _fonts)
)

// Rule says how requests for some paths are answered. Exactly one rule applies to a request; see
// [Manifest.Select].
type Rule struct {
	Matcher Matcher
	// Value is the matcher's argument as written.
	Value string
	// CaseSensitive is set only with MatchRegexp. Pattern obeys it already.
	CaseSensitive bool
	// Pattern is the compiled pattern of MatchRegexp and MatchFile; nil otherwise.
	Pattern *regexp.Regexp
	Options Options
	// Line is where the rule stands in the manifest; 0 if it does not come from a file.
	Line int
}

// Options are what a rule changes.
type Options struct {
	// ClientCaching is for how long clients may keep the answer; 0 means that the rule does not say.
	ClientCaching time.Duration
	// Headers are set on answers with a success or redirect status, in the order written.
	Headers []Header
	// Proxy, when not nil, is where requests are passed on to. Without a path, the request's path is passed on
	// as it is; with one (only on exact and prefix), it replaces the part that the rule matched.
	Proxy *url.URL
	// Deny answers 404. It wins over Proxy.
	Deny bool
}

// Header is one response header.
type Header struct{ Name, Value string }

// Rewrite replaces a path that Pattern matches by Target, in which $1 to $9 stand for the groups.
type Rewrite struct {
	Pattern *regexp.Regexp
	Target  string
}

// Bounds of a manifest. They are far above what sites need and keep a hostile one from costing the node memory.
const (
	// MaxManifestSize is the largest manifest that is read, in bytes.
	MaxManifestSize = 1 << 20
	maxRules        = 1000
	maxRewrites     = 1000
	maxHeaders      = 100
	maxText         = 4096 // bytes of a path, pattern or target
	maxHeaderValue  = 8192 // bytes; what common proxies accept as a whole header section
	maxFaults       = 100  // reported ones
	// Patterns are bounded by the instructions that they compile to (40 bytes each), because x{1000} is short
	// to write.
	maxPatternInsts = 20_000
	maxTotalInsts   = 200_000
)
