package server

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Failed attempts to authenticate: ten at once, then one in two seconds. A key of 128 random bits cannot be guessed
// anyway; this is for the others.
const (
	attemptBurst    = 10
	attemptInterval = 2 * time.Second
	// maxClients bounds the memory: of more addresses, the ones longest quiet are forgotten.
	maxClients = 10_000
)

// attempts limits failed attempts by client. Nothing is kept of clients that never failed.
type attempts struct {
	now func() time.Time

	mu      sync.Mutex
	clients map[string]*list.Element
	// recent has a *client each, the last that failed first.
	recent *list.List
}

type client struct {
	name    string
	failing *rate.Limiter
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, clients: map[string]*list.Element{}, recent: list.New()}
}

// try returns what check does, unless the client has failed too often: then check is not called, and the client
// has to wait for a time greater than 0. A success forgives what failed before. Checks are made one at a time, so
// that many attempts at once are counted like many after each other.
func (a *attempts) try(name string, check func() bool) (ok bool, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	known := a.clients[name]
	if known != nil {
		if tokens := known.Value.(*client).failing.TokensAt(now); tokens < 1 {
			return false, max(time.Duration((1-tokens)*float64(attemptInterval)), time.Millisecond)
		}
	}
	if check() {
		if known != nil {
			a.forget(known)
		}
		return true, 0
	}
	if known == nil {
		known = a.recent.PushFront(&client{name, rate.NewLimiter(rate.Every(attemptInterval), attemptBurst)})
		a.clients[name] = known
		if a.recent.Len() > maxClients {
			a.forget(a.recent.Back())
		}
	}
	a.recent.MoveToFront(known)
	known.Value.(*client).failing.AllowN(now, 1)
	return false, 0
}

func (a *attempts) forget(e *list.Element) {
	delete(a.clients, e.Value.(*client).name)
	a.recent.Remove(e)
}
