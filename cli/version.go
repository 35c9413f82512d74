package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is what is known of this build.
type version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Time    string `json:"time,omitempty"`
	Runtime string `json:"runtime"`
}

// buildVersion reads what the Go toolchain stamped into the program.
func buildVersion() version {
	v := version{Version: "unstamped", Runtime: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	modified := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+changes"
			}
		}
	}
	if v.Commit != "" {
		v.Commit += modified
	}
	return v
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print stkcli's version",
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			return a.print(v, func(t *table) {
				t.row("Version", v.Version)
				t.row("Commit", v.Commit)
				t.row("Time", v.Time)
				t.row("Runtime", fmt.Sprintf("%s %s/%s", v.Runtime, runtime.GOOS, runtime.GOARCH))
			})
		},
	}
}
