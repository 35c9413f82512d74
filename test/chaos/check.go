package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/cluster"
	"statiko/test/history"
)

// converged waits until all nodes take changes, agree on who leads, see all others, and have the same state.
func (s *Scene) converged() {
	for _, n := range s.Nodes {
		cluster.Must(s.T, n.Healthy())
	}
	s.Leader(s.T, cluster.StartTimeout, s.Nodes...)
	for _, n := range s.Nodes {
		client := n.API(s.T)
		cluster.Must(s.T, cluster.Poll(cluster.StartTimeout, "all members are up, for "+n.Name(), func() error {
			list, err := client.Nodes(context.Background())
			for _, m := range list {
				if !m.Up {
					return fmt.Errorf("%s is not", m.Name)
				}
			}
			if err == nil && len(list) != len(s.Nodes) {
				err = fmt.Errorf("%d members", len(list))
			}
			return err
		}))
	}
	s.SameDocument(s.T)
}

// Judge is the end of a round, when nobody changes anything: all that was recorded and all that there is must agree.
func (s *Scene) Judge() {
	s.T.Helper()
	s.converged()
	var sites history.Sites
	for _, n := range s.Nodes {
		list, err := n.API(s.T).Sites(context.Background())
		cluster.Must(s.T, err)
		sites = sitesOf(list)
		for _, aliases := range sites {
			slices.Sort(aliases)
		}
		now := s.calls.Now()
		s.calls.Note(history.Call{Client: -1, Node: n.Name(), Op: history.Read, Sites: sites, Begin: now, End: now + 1, Result: history.OK})
	}
	s.events.report(s.T)
	if err := s.calls.Linearizable(2 * time.Minute); err != nil {
		s.T.Error(err)
	}
	if err := s.views.Judge(s.calls.Calls(), s.since); err != nil {
		s.T.Error(err)
	}
	cluster.Must(s.T, cluster.Poll(2*cluster.StartTimeout, "no lease is left", s.leasesAre))
	cluster.Must(s.T, cluster.Poll(3*time.Minute, "etcd has exactly the sites and names of the nodes", func() error { return s.keysAre(sites) }))
	s.served(sites)
	s.judgeBundles()
	for _, n := range s.Nodes {
		if err := logged(n); err != nil {
			s.T.Error(err)
		}
	}
	if s.T.Failed() {
		s.T.FailNow()
	}
}

// keysAre is an error unless etcd has these sites and their names in the generation in force, and nothing of others.
func (s *Scene) keysAre(sites history.Sites) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	const prefix = "/statiko/v1/"
	r, err := s.Etcd.Client(s.T).Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	values := map[string][]byte{}
	for _, kv := range r.Kvs {
		key := strings.TrimPrefix(string(kv.Key), prefix)
		if values[key] = kv.Value; strings.Contains(key, "/secrets/") && !strings.Contains(key, "/guards/") && kv.Version != 1 {
			return cluster.NoUse(fmt.Errorf("%s was made %d times", key, kv.Version))
		}
	}
	var head struct{ Generation int64 }
	if err := json.Unmarshal(values["head"], &head); err != nil {
		return fmt.Errorf("the head %q: %w", values["head"], err)
	}
	generation := fmt.Sprintf("g/%d/", head.Generation)
	owners := map[string]string{}
	for domain, aliases := range sites {
		for _, name := range append([]string{domain}, aliases...) {
			owners[name] = domain
		}
	}
	found := history.Sites{}
	for key, value := range values {
		rest, current := strings.CutPrefix(key, generation)
		switch {
		case strings.HasPrefix(key, "staging/"), strings.HasPrefix(key, "g/") && !current:
			return fmt.Errorf("%s is left from a restore", key)
		case strings.HasPrefix(rest, "sites/"):
			var site struct{ Aliases []string }
			if err := json.Unmarshal(value, &site); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			slices.Sort(site.Aliases)
			found[strings.TrimPrefix(rest, "sites/")] = site.Aliases
		case strings.HasPrefix(rest, "names/"):
			name := strings.TrimPrefix(rest, "names/")
			if owner := owners[name]; owner == "" || !strings.Contains(string(value), `"`+owner+`"`) {
				return fmt.Errorf("%s is %s, but the site that has the name is %q", key, value, owner)
			}
			delete(owners, name)
		}
	}
	for name, owner := range owners {
		return fmt.Errorf("the name %s of %s is not in the index", name, owner)
	}
	if len(found) != len(sites) {
		return fmt.Errorf("etcd has %d sites, the nodes %d", len(found), len(sites))
	}
	for domain, aliases := range sites {
		if got, ok := found[domain]; !ok || !slices.Equal(got, aliases) {
			return fmt.Errorf("%s: etcd has %t %v, the nodes %v", domain, ok, got, aliases)
		}
	}
	return nil
}

// logged is an error if the node's log has a line that is not JSON, as the log's format is.
func logged(n *cluster.Node) error {
	for line := range bytes.Lines(n.Log()) {
		// The last one may be under way.
		if !json.Valid(line) && bytes.HasSuffix(line, []byte("\n")) {
			return fmt.Errorf("the log of %s has the line %.300q", n.Name(), line)
		}
	}
	return nil
}

// leasesAre is an error if etcd keeps other leases than one for each node.
func (s *Scene) leasesAre() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := s.Etcd.Client(s.T).Leases(ctx)
	if err == nil && len(r.Leases) != len(s.Nodes) {
		err = fmt.Errorf("etcd has %d leases for %d nodes", len(r.Leases), len(s.Nodes))
	}
	return err
}

// looked bounds how many sites are visited on each node.
const looked = 40

// served visits sites on every node: each shows the same certificate on all, for its name, and its page; what is no
// site any more is not served.
func (s *Scene) served(sites history.Sites) {
	s.T.Helper()
	count := 0
	for domain := range sites {
		if count++; count > looked {
			break
		}
		s.Serves(s.T, cluster.StartTimeout, domain)
	}
	gone := 0
	for _, c := range s.calls.Calls() {
		if _, there := sites[c.Domain]; there || c.Domain == "" || s.isAlias(sites, c.Domain) {
			continue
		}
		if gone++; gone > 5 {
			break
		}
		for _, n := range s.Nodes {
			cluster.Must(s.T, cluster.Poll(cluster.StartTimeout, c.Domain+" is not served by "+n.Name(), func() error {
				v := cluster.NewVisitor(n)
				defer v.Close()
				if p, err := v.Get("https://" + c.Domain + "/"); err == nil && p.Status == 200 {
					return fmt.Errorf("it is: %.80q", p.Body)
				}
				return nil
			}))
		}
	}
	for _, n := range s.Nodes {
		cluster.Must(s.T, s.serving(n))
	}
}

func (s *Scene) isAlias(sites history.Sites, name string) bool {
	for _, aliases := range sites {
		if slices.Contains(aliases, name) {
			return true
		}
	}
	return false
}
