package server

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"statiko/api"
	"statiko/state"
)

// ailing is a store that takes no changes while it ails.
type ailing struct {
	state.Store
	ails atomic.Bool
}

func (a *ailing) Health() state.Health {
	return state.Health{Healthy: !a.ails.Load(), Reason: "etcd does not answer", Backend: "etcd"}
}

func TestMinRevision_AChangeDoesNotWaitForAStoreThatTakesNone(t *testing.T) {
	t.Parallel()
	store := &ailing{}
	n := start(t, func(o *Options) {
		store.Store = o.Store
		o.Store = store
	})
	far := map[string]string{api.HeaderMinRevision: "1000000"}
	change := request{method: "POST", path: "/site", header: far, body: api.SiteCreate{Domain: "a.example.org"}}
	store.ails.Store(true)
	for _, when := range []string{"before", "meanwhile"} {
		if when == "meanwhile" {
			store.ails.Store(false)
			time.AfterFunc(2*healthEvery, func() { store.ails.Store(true) })
		}
		if e := n.do(change).fails(api.CodeUnavailable); !strings.Contains(e.Message, "etcd does not answer") {
			t.Errorf("%s: %q", when, e.Message)
		}
	}
	n.get("/site/a.example.org").fails(api.CodeNotFound)
	// Who reads waits for what may come.
	read := make(chan *answer)
	go func() {
		read <- n.do(request{method: "GET", path: "/site", header: map[string]string{api.HeaderMinRevision: "2"}})
	}()
	store.ails.Store(false)
	n.site("b.example.org")
	(<-read).want(200)
}
