package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"statiko/api"
	"statiko/test/cluster"
	"statiko/test/history"
)

// Load says what clients do.
type Load struct {
	// Writers change sites, each with this pause between calls; Operators restore whole states, each with that pause.
	Writers   int
	Pause     time.Duration
	Operators int
	Rest      time.Duration
	// Deployers upload and deploy bundles, each with the pause Between.
	Deployers int
	Between   time.Duration
	// Groups of Names names each; sites of the first group ask the leader for a certificate of their own.
	Groups, Names int
}

// patience is how long a client waits for an answer: longer than a node may take to refuse.
const patience = 15 * time.Second

// late is how long a node that is left alone may take to refuse, on a busy machine.
const late = cluster.StoreTimeout + 7*time.Second

// run lets clients, watchers and visitors work until the context ends.
func (s *Scene) run(ctx context.Context, load Load, seed uint64) {
	var all sync.WaitGroup
	for i := range load.Writers {
		all.Go(func() { s.write(ctx, i, load, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for i := range load.Operators {
		i += load.Writers
		all.Go(func() { s.operate(ctx, i, load, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for i := range load.Deployers {
		i += load.Writers + load.Operators
		all.Go(func() { s.deploy(ctx, i, load, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for _, n := range s.Nodes {
		all.Go(func() { s.watch(ctx, n) })
		all.Go(func() { s.visit(ctx, n) })
	}
	all.Wait()
}

// clients are one client for each node.
type clients map[*cluster.Node]*api.Client

func (s *Scene) clients() clients {
	all := clients{}
	for _, n := range s.Nodes {
		all[n] = n.PatientClient(patience)
	}
	return all
}

func (c clients) close() {
	for _, one := range c {
		one.Close()
	}
}

// every calls do with a pause in between until the context ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		do()
		timer.Reset(pause)
	}
}

func (s *Scene) write(ctx context.Context, client int, load Load, random *rand.Rand) {
	to := s.clients()
	defer to.close()
	every(ctx, load.Pause, func() {
		n := s.Nodes[random.IntN(len(s.Nodes))]
		group, number := random.IntN(load.Groups), random.IntN(load.Names)
		call := history.Call{Client: client, Node: n.Name(), Domain: history.Name(s.Prefix(), group, number)}
		alias := []string{}
		if other := random.IntN(2 * load.Names); other < load.Names {
			alias = append(alias, history.Alias(s.Prefix(), group, other))
		}
		call.Op = []string{history.Add, history.Add, history.Change, history.Remove}[random.IntN(4)]
		if call.Op != history.Remove {
			call.Aliases = alias
		}
		before := s.minds.now(n)
		call, err := s.calls.Make(call, func(a *api.Answer) error { return change(to[n], call, group == 0, a) })
		s.mustMakeSense(n, before, call, err)
	})
}

// change makes a call of a site. Nothing of it is cut off by the client: the round waits.
func change(c *api.Client, call history.Call, own bool, a *api.Answer) error {
	ctx := context.Background()
	switch call.Op {
	case history.Remove:
		return c.DeleteSite(ctx, call.Domain, api.Observe(a))
	case history.Change:
		_, err := c.ChangeSite(ctx, call.Domain, api.SiteChange{Aliases: &call.Aliases}, api.Observe(a))
		return err
	}
	site := api.SiteCreate{Domain: call.Domain, Aliases: call.Aliases, TLS: &api.SiteTLS{Type: "imported", Certificate: Pair}}
	if own {
		site.TLS = nil
	}
	_, err := c.CreateSite(ctx, site, api.Observe(a))
	return err
}

// mustMakeSense notes a fault if the node was left alone and did not answer in time, or answered what no fault
// explains. An upload may wait for a node that does not answer; bundles alone need the disk.
func (s *Scene) mustMakeSense(n *cluster.Node, before mind, call history.Call, err error) {
	took := call.End - call.Begin
	switch {
	case err != nil:
		s.events.fault("%s %s %s through %s: %v", call.Op, call.Domain, call.App, n.Name(), err)
	case saysFull(call) && (call.App == "" || s.minds.spaceSince(n, before)):
		s.events.fault("%s %s %s through %s: %s", call.Op, call.Domain, call.App, n.Name(), call.Error)
	case call.Op != history.Upload && s.minds.calmSince(n, before) && took > late:
		s.events.fault("%s %s through %s took %s: %s %s", call.Op, call.Domain, n.Name(), took, call.Result, call.Error)
	}
}

// operate restores random states.
func (s *Scene) operate(ctx context.Context, client int, load Load, random *rand.Rand) {
	to := s.clients()
	defer to.close()
	every(ctx, load.Rest/2+time.Duration(random.Int64N(int64(load.Rest)+1)), func() {
		n, sites := s.Nodes[random.IntN(len(s.Nodes))], history.Sites{}
		for group := 1; group < load.Groups; group++ {
			for number := range load.Names {
				if random.IntN(3) == 0 {
					sites[history.Name(s.Prefix(), group, number)] = nil
				}
			}
		}
		s.bundles.whole.RLock()
		defer s.bundles.whole.RUnlock()
		call := s.restore(client, n, to[n], sites)
		s.events.say("operator %d restored %d sites through %s: %s %s", client, len(sites), n.Name(), call.Result, call.Error)
		if load.Deployers > 0 {
			s.certain(client, to, call)
		}
	})
}

// watch keeps what the node shows.
func (s *Scene) watch(ctx context.Context, n *cluster.Node) {
	var c *api.Client
	starts := -1
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	every(ctx, 50*time.Millisecond, func() {
		before := s.minds.now(n)
		if starts != before.starts {
			// Another client: the one that knows the newest revision would wait for it.
			if c != nil {
				c.Close()
			}
			c, starts = n.PatientClient(patience), before.starts
		}
		if err := s.look(ctx, n, c, before); err != nil && s.minds.calmSince(n, before) && ctx.Err() == nil {
			s.events.fault("the sites of %s: %v", n.Name(), err)
		}
	})
}

func (s *Scene) look(ctx context.Context, n *cluster.Node, c *api.Client, before mind) error {
	var answer api.Answer
	began := s.calls.Now()
	list, err := c.Sites(ctx, api.Observe(&answer))
	if err != nil {
		return err
	}
	if answer.Revision < 0 {
		return errors.New("the answer names no revision")
	}
	if s.minds.now(n).starts == before.starts {
		s.views.Note(history.View{
			Node: n.Name(), Start: before.starts, Revision: answer.Revision, Begin: began, End: s.calls.Now(), Sites: sitesOf(list),
		})
	}
	return nil
}

func sitesOf(list []api.Site) history.Sites {
	sites := history.Sites{}
	for _, one := range list {
		sites[one.Domain] = one.Aliases
	}
	return sites
}

// visit asks for the sites that are always there: a node that is left alone always serves them, and each page whole.
func (s *Scene) visit(ctx context.Context, n *cluster.Node) {
	every(ctx, 100*time.Millisecond, func() {
		before := s.minds.now(n)
		err := s.serving(n)
		if err == nil {
			s.visits.Add(2)
		} else if s.minds.calmSince(n, before) {
			s.events.fault("%v", err)
		}
	})
}
