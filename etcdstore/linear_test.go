package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"statiko/state"
)

// What a client asks, and what it is told. Sites of one group share names, those of different groups never do, so that
// the history can be checked group by group.
type (
	request struct {
		op    string // put, delete, look
		group int
		name  string
		// aliases are of a put.
		aliases string
	}
	answer struct {
		// result is ok, exists, missing or, for a look, the domain and aliases of the site that has the name.
		result  string
		unknown bool
	}
)

// group is the model of one group: sites as "domain=alias,alias", sorted.
type group = string

func sitesOf(g group) map[string][]string {
	all := map[string][]string{}
	for s := range strings.FieldsSeq(g) {
		domain, aliases, _ := strings.Cut(s, "=")
		all[domain] = strings.FieldsFunc(aliases, func(r rune) bool { return r == ',' })
	}
	return all
}

func groupOf(sites map[string][]string) group {
	var all []string
	for domain, aliases := range sites {
		all = append(all, domain+"="+strings.Join(aliases, ","))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// owner returns the site that has the name.
func owner(sites map[string][]string, name string) (string, bool) {
	for domain, aliases := range sites {
		if domain == name || slices.Contains(aliases, name) {
			return domain, true
		}
	}
	return "", false
}

// step is what a single copy of the group would answer, and what it would be afterwards.
func step(g group, r request) (string, group) {
	sites := sitesOf(g)
	switch r.op {
	case "put":
		aliases := strings.Split(r.aliases, ",")
		for _, name := range append([]string{r.name}, aliases...) {
			if by, taken := owner(sites, name); taken && by != r.name {
				return "exists", g
			}
		}
		sites[r.name] = aliases
		return "ok", groupOf(sites)
	case "delete":
		if _, ok := sites[r.name]; !ok {
			return "missing", g
		}
		delete(sites, r.name)
		return "ok", groupOf(sites)
	}
	by, ok := owner(sites, r.name)
	if !ok {
		return "missing", g
	}
	return by + "=" + strings.Join(sites[by], ","), g
}

var sitesModel = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		groups := map[int][]porcupine.Operation{}
		for _, o := range history {
			g := o.Input.(request).group
			groups[g] = append(groups[g], o)
		}
		return slices.Collect(maps.Values(groups))
	},
	Init: func() []any { return []any{""} },
	Step: func(s, input, output any) []any {
		result, next := step(s.(group), input.(request))
		switch a := output.(answer); {
		case a.unknown:
			return []any{s, next}
		case a.result == result:
			return []any{next}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v → %v", input, output) },
}

// run makes one request at a store.
func (r request) run(s *Store) (answer, error) {
	result := "ok"
	_, err := s.Update(context.Background(), func(d *state.Draft) error {
		switch r.op {
		case "put":
			return d.Put(site(r.name, strings.Split(r.aliases, ",")...))
		case "delete":
			return d.Delete(site(r.name).Key())
		}
		found, ok := d.Site(r.name)
		if !ok {
			return state.ErrNotFound
		}
		result = found.Domain + "=" + strings.Join(found.Aliases, ",")
		return nil
	})
	switch {
	case err == nil:
		return answer{result: result}, nil
	case errors.Is(err, state.ErrExists):
		return answer{result: "exists"}, nil
	case errors.Is(err, state.ErrNotFound):
		return answer{result: "missing"}, nil
	case errors.Is(err, state.ErrUnknown):
		return answer{unknown: true}, nil
	}
	return answer{}, err
}

// Eight writers on two nodes, names that collide: acceptances, refusals and looks must be those of a single copy.
func TestStore_HistoryOfTwoNodesIsLinearizable(t *testing.T) {
	t.Parallel()
	groups, operations := 6, 480
	if soak() {
		groups, operations = 1600, 64000 // about 5,000 sites
	}
	const writers, names = 8, 10
	c, prefix := sharedCluster(t), newPrefix()
	nodes := []*Store{openOn(t, c.Endpoints(), Options{Prefix: prefix}), openOn(t, c.Endpoints(), Options{Prefix: prefix, NodeName: "second"})}
	began := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	note := func(client int, r request, call time.Duration, a answer, ended time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if a.unknown {
			ended = math.MaxInt64
		}
		history = append(history, porcupine.Operation{ClientId: client, Input: r, Call: int64(call), Output: a, Return: int64(ended)})
	}
	var clients sync.WaitGroup
	for client := range writers {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), 7))
			for range operations / writers {
				g := random.IntN(groups)
				name := func() string { return fmt.Sprintf("g%d-n%d.test", g, random.IntN(names)) }
				r := request{op: []string{"put", "put", "put", "delete", "look"}[random.IntN(5)], group: g, name: name()}
				if r.op == "put" {
					alias := name()
					for alias == r.name {
						alias = name()
					}
					r.aliases = alias
				}
				call := time.Since(began)
				a, err := r.run(nodes[client%2])
				if err != nil {
					t.Errorf("%+v: %v", r, err)
					return
				}
				note(client, r, call, a, time.Since(began))
			}
		})
	}
	clients.Wait()
	took := time.Since(began)
	revision := max(nodes[0].Snapshot().Revision(), nodes[1].Snapshot().Revision())
	for _, s := range nodes {
		now, err := s.Wait(t.Context(), revision-1)
		if err != nil {
			t.Fatal(err)
		}
		// Each node's end is part of the history: what it has is what was acknowledged, no more and no less.
		for g := range groups {
			for n := range names {
				r := request{op: "look", group: g, name: fmt.Sprintf("g%d-n%d.test", g, n)}
				a := answer{result: "missing"}
				if found, ok := now.Site(r.name); ok {
					a.result = found.Domain + "=" + strings.Join(found.Aliases, ",")
				}
				at := time.Since(began)
				note(writers, r, at, a, at+1)
			}
		}
	}
	results := map[string]int{}
	for _, o := range history {
		if r := o.Input.(request); o.ClientId < writers {
			a := o.Output.(answer)
			if r.op == "look" && a.result != "missing" {
				a.result = "found"
			}
			results[r.op+" "+a.result]++
		}
	}
	t.Logf("%d operations in %v, %d sites at the end: %v", operations, took, nodes[0].Snapshot().Len(state.KindSite), results)
	checked := time.Now()
	if got := porcupine.CheckOperationsTimeout(sitesModel.ToModel(), history, 5*time.Minute); got != porcupine.Ok {
		t.Fatalf("the history of %d operations is not linearizable: %v", len(history), got)
	}
	t.Logf("checked in %v", time.Since(checked))
	for _, o := range []string{"put ok", "put exists", "delete ok", "delete missing"} {
		if results[o] == 0 {
			t.Errorf("no %s among %v", o, results)
		}
	}
}
