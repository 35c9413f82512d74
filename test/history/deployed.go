package history

import (
	"errors"
	"slices"
)

// Deployed returns the bundles of which a site has one when nobody changes it any more, as its deployments and restores
// say: that of the last acknowledged call, and those of calls of unknown outcome, each of which may have been the very last.
func Deployed(calls []Call) ([]string, error) {
	var last *Call
	var may []string
	for i := range calls {
		c := &calls[i]
		switch {
		case c.Op != Deploy && c.Op != Restore:
		case c.Result == Unknown:
			may = append(may, c.App)
		case c.Result == OK && (last == nil || c.Revision > last.Revision):
			last = c
		}
	}
	if last == nil {
		return nil, errors.New("nothing was ever deployed")
	}
	may = append(may, last.App)
	slices.Sort(may)
	return slices.Compact(may), nil
}
