package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"statiko/api"
)

// unpackedEvery is how often the nodes are asked whether they have unpacked a bundle: each time, all of them are.
const unpackedEvery = 500 * time.Millisecond

// unpacked waits until every node that is up has the bundle unpacked, and says how many have.
func (a *app) unpacked(ctx context.Context, c *api.Client, name string, wait time.Duration, until time.Time) error {
	tick := time.NewTicker(unpackedEvery)
	defer tick.Stop()
	limited, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	said, why := -1, errors.New("no node was asked yet")
	for {
		have, lack, err := unpackedOn(limited, c, name)
		switch {
		case err != nil && limited.Err() == nil:
			why = err
		case err != nil: // the last reason says more
		case len(lack) == 0:
			a.say("unpacked on %d of %d nodes", have, have)
			return nil
		default:
			why = fmt.Errorf("not unpacked on %s", strings.Join(lack, ", "))
			if have != said {
				a.say("unpacked on %d of %d nodes", have, have+len(lack))
				said = have
			}
		}
		select {
		case <-tick.C:
		case <-limited.Done():
			return &failure{code: ExitNotApplied, message: fmt.Sprintf("%s is stored, but not every node has it unpacked within %v", name, wait), cause: why,
				hint: "they will without further help once the reason is gone; stkcli app list and stkcli cluster status show it"}
		}
	}
}

// unpackedOn returns how many nodes have the bundle unpacked, and which of those that are up do not.
func unpackedOn(ctx context.Context, c *api.Client, name string) (have int, lack []string, err error) {
	apps, err := c.AppsOnNodes(ctx)
	if err != nil {
		return 0, nil, err
	}
	i := slices.IndexFunc(apps, func(x api.App) bool { return x.Name == name })
	if i < 0 {
		return 0, nil, fmt.Errorf("the bundle %s was removed meanwhile", name)
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return 0, nil, err
	}
	for _, n := range nodes {
		switch {
		case slices.Contains(apps[i].Unpacked, n.Name):
			have++
		case n.Up:
			lack = append(lack, n.Name)
		}
	}
	return have, lack, nil
}
