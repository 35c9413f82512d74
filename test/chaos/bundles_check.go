package chaos

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"statiko/test/cluster"
	"statiko/test/history"
)

// judgeBundles is the end of a round with bundles: every node has each that was acknowledged, byte for byte, and serves the
// version of Deployed that was deployed last. Uploads of unknown outcome were made whole or not at all, refused ones were not.
func (s *Scene) judgeBundles() {
	s.T.Helper()
	calls := s.bundles.calls.Calls()
	results := map[string]string{}
	for _, c := range calls {
		if c.Op == history.Upload {
			results[c.App] = c.Result
		}
	}
	for _, n := range s.Nodes {
		// A node that missed a bundle may find out at its next full pass only, a minute later.
		cluster.Must(s.T, cluster.Poll(3*time.Minute, "the bundles are everywhere, as "+n.Name()+" sees it", func() error {
			return s.bundlesAre(n, results)
		}))
	}
	may, err := history.Deployed(calls)
	cluster.Must(s.T, err)
	site, err := s.Nodes[0].API(s.T).Site(context.Background(), Deployed)
	cluster.Must(s.T, err)
	if site.App == nil || !slices.Contains(may, site.App.Name) {
		s.T.Fatalf("%s has %+v deployed, and should have one of %q", Deployed, site.App, may)
	}
	for _, n := range s.Nodes {
		cluster.Must(s.T, cluster.Poll(cluster.StartTimeout, n.Name()+" serves "+site.App.Name, func() error {
			app, err := s.deployedWhole(n)
			if err == nil && app != site.App.Name {
				err = fmt.Errorf("it serves %s", app)
			}
			return err
		}))
	}
}

// bundlesAre is an error unless the state has all acknowledged bundles, and none that was refused, and all that it has are on
// all nodes.
func (s *Scene) bundlesAre(n *cluster.Node, results map[string]string) error {
	c := n.PatientClient(patience)
	defer c.Close()
	apps, err := c.AppsOnNodes(context.Background())
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, app := range apps {
		if app.Name == App {
			continue
		}
		if result := results[app.Name]; result != history.OK && result != history.Unknown {
			return cluster.NoUse(fmt.Errorf("%s is there, but its upload was %q", app.Name, result))
		}
		there[app.Name] = true
		if len(app.Nodes) != len(s.Nodes) || len(app.Unpacked) != len(s.Nodes) {
			return fmt.Errorf("%s is on %v, unpacked on %v", app.Name, app.Nodes, app.Unpacked)
		}
		for _, other := range s.Nodes {
			got, err := os.ReadFile(filepath.Join(other.Settings["repo.local.path"], app.Name))
			if err != nil || sha256.Sum256(got) != s.bundles.archives[app.Name] {
				return errors.Join(fmt.Errorf("%s has %d other bytes as the archive of %s", other.Name(), len(got), app.Name), err)
			}
		}
	}
	for name, result := range results {
		if result == history.OK && !there[name] {
			return cluster.NoUse(fmt.Errorf("the acknowledged bundle %s is not there", name))
		}
	}
	return nil
}
