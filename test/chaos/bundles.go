package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"statiko/api"
	"statiko/test/cluster"
	"statiko/test/history"
)

// Deployed is the site that the round's bundles are deployed to. It is always there, with the bundle App at first.
const Deployed = "deployed.example.org"

// bundles is what clients did with bundles.
type bundles struct {
	// whole is held by an upload alone, and by restores together: a restore has every bundle whose upload was acknowledged
	// before it, and so takes none away.
	whole sync.RWMutex
	// calls are of the round: uploads, deployments, and restores with what they deploy.
	calls *history.Recorder

	mu sync.Mutex
	// archives are the hashes of those of the round's uploads, acknowledged or not, by the bundles' names.
	archives map[string]hash
	// pages are the names by the hashes of what the bundles have as their index.html; former are those of the round before.
	pages, former map[hash]string
	// acknowledged are in the order of their acknowledgements, as the state has them.
	acknowledged []api.App
	// deployed is what was acknowledged last.
	deployed string
}

// hash is a SHA-256: the bundles of hours would fill the memory.
type hash [sha256.Size]byte

// begin begins a round, which has no bundles. Nodes may yet serve those of the round before for a moment.
func (b *bundles) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls, b.acknowledged, b.deployed = history.NewRecorder(), nil, App
	b.former, b.pages = b.pages, map[hash]string{sha256.Sum256(steadyPage): App}
	b.archives = map[string]hash{}
}

// document adds the acknowledged bundles to a document, and returns what it deploys.
func (b *bundles) document(doc map[string]any) (deployed string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	apps := append([]any{}, doc["apps"].([]any)...)
	for _, a := range b.acknowledged {
		apps = append(apps, map[string]any{"name": a.Name, "type": a.Type, "size": a.Size, "sha256": a.SHA256, "uploaded": a.LastModified})
	}
	doc["apps"] = apps
	sites := doc["sites"].([]any)
	for i, one := range sites {
		if site := one.(map[string]any); site["domain"] == Deployed {
			site = maps.Clone(site)
			site["app"] = map[string]any{"name": b.deployed}
			sites[i] = site
		}
	}
	return b.deployed
}

// some returns an acknowledged bundle by chance; "" if there is none.
func (b *bundles) some(random *rand.Rand) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.acknowledged) == 0 {
		return ""
	}
	return b.acknowledged[random.IntN(len(b.acknowledged))].Name
}

// deploy uploads bundles and deploys them, through random nodes.
func (s *Scene) deploy(ctx context.Context, client int, load Load, random *rand.Rand) {
	to := s.clients()
	defer to.close()
	number := 0
	every(ctx, load.Between, func() {
		n := s.Nodes[random.IntN(len(s.Nodes))]
		name := s.bundles.some(random)
		if name == "" || random.IntN(3) == 0 {
			number++
			s.upload(client, n, to[n], fmt.Sprintf("%s-c%d-%d", s.Prefix(), client, number), usualSize, random)
			return
		}
		before := s.minds.now(n)
		call := history.Call{Client: client, Node: n.Name(), Op: history.Deploy, Domain: Deployed, App: name}
		call, err := s.bundles.calls.Make(call, func(a *api.Answer) error {
			return to[n].Deploy(context.Background(), Deployed, name, api.Observe(a))
		})
		s.mustMakeSense(n, before, call, sensible(call, err))
		if call.Result == history.OK {
			s.bundles.mu.Lock()
			s.bundles.deployed = name
			s.bundles.mu.Unlock()
		}
	})
}

// sensible is an error for answers that no call of a bundle may have: names are used once, and nobody removes anything.
func sensible(call history.Call, err error) error {
	if err == nil && (call.Result == history.Exists || call.Result == history.Missing) {
		err = errors.New(call.Error)
	}
	return err
}

// usualSize is more than is sent at once, so that halves could be seen.
const usualSize = 4000 // of 16 bytes

func (s *Scene) upload(client int, n *cluster.Node, c *api.Client, name string, size int, random *rand.Rand) history.Call {
	page := fmt.Appendf(nil, "<!doctype html><title>%s</title>", name)
	for range size {
		page = fmt.Appendf(page, "%016x", random.Uint64())
	}
	archive := cluster.Zip(map[string][]byte{"index.html": page})
	b := &s.bundles
	b.mu.Lock()
	b.archives[name], b.pages[sha256.Sum256(page)] = sha256.Sum256(archive), name
	b.mu.Unlock()

	b.whole.Lock()
	defer b.whole.Unlock()
	before := s.minds.now(n)
	call := history.Call{Client: client, Node: n.Name(), Op: history.Upload, App: name}
	call, err := b.calls.Make(call, func(a *api.Answer) error {
		return c.UploadApp(context.Background(), name, "zip", bytes.NewReader(archive), nil, api.Observe(a))
	})
	s.mustMakeSense(n, before, call, sensible(call, err))
	s.events.say("upload of %s through %s: %s %s", name, n.Name(), call.Result, call.Error)
	if call.Result != history.OK {
		return call
	}
	record, err := s.record(name)
	if err != nil {
		s.events.fault("the acknowledged bundle %s: %v", name, err)
		return call
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acknowledged = append(b.acknowledged, record)
	return call
}

// record waits until a node shows a bundle, and returns what the state has of it.
func (s *Scene) record(name string) (found api.App, err error) {
	err = cluster.Poll(time.Minute, "a node shows it", func() error {
		for _, n := range s.Nodes {
			c := n.PatientClient(time.Second)
			list, err := c.Apps(context.Background())
			c.Close()
			if err != nil {
				continue
			}
			for _, a := range list {
				if a.Name == name {
					found = a
					return nil
				}
			}
		}
		return errors.New("none does")
	})
	return found, err
}

// certain repeats a restore of unknown outcome until one is acknowledged, after which the other cannot be made any more:
// made late, it would take away bundles that were uploaded meanwhile.
func (s *Scene) certain(client int, to clients, call history.Call) {
	if call.Result != history.Unknown {
		return
	}
	err := cluster.Poll(3*time.Minute, "a restore after one of unknown outcome", func() error {
		for _, n := range s.Nodes {
			if again := s.restore(client, n, to[n], call.Sites); again.Result == history.OK {
				return nil
			}
		}
		return errors.New("none was acknowledged")
	})
	if err != nil {
		s.events.fault("%v", err)
	}
}

// deployedWhole is an error unless the node serves a bundle of Deployed as it was uploaded; it returns which.
func (s *Scene) deployedWhole(n *cluster.Node) (app string, err error) {
	v := cluster.NewVisitor(n)
	defer v.Close()
	p, err := v.Get("https://" + Deployed + "/")
	if err != nil {
		return "", err
	}
	s.bundles.mu.Lock()
	defer s.bundles.mu.Unlock()
	sum := sha256.Sum256(p.Body)
	app, ok := s.bundles.pages[sum]
	if !ok {
		app, ok = s.bundles.former[sum]
	}
	if p.Status != 200 || !ok {
		return "", fmt.Errorf("https://%s/ through %s is no whole version of this round or the last: status %d, %d bytes, %.60q",
			Deployed, n.Name(), p.Status, len(p.Body), p.Body)
	}
	return app, nil
}
