package node

import (
	"fmt"
	"runtime/debug"
)

// Version words what the Go tool recorded about a program: its version, the commit and time it was built from if
// known, and the version of Go.
func Version(info *debug.BuildInfo) string {
	commit, when, modified := "", "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(len(s.Value), 12)]
		case "vcs.time":
			when = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+changes"
			}
		}
	}
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	return fmt.Sprintf("%s (%s%s; %s) %s", version, commit, modified, when, info.GoVersion)
}
