package builtin

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	cacheShards = 16
	// maxCachedBody is the largest file that is kept in memory. Larger ones are in the kernel's cache anyway, and
	// copying them costs more than opening them.
	maxCachedBody = 64 << 10
	// fileOverhead is about what a file costs beside its body.
	fileOverhead = 1 << 10
)

// fileCache keeps what is known of files that were asked for, and the bodies of small ones. Nothing in it can
// be stale, because a bundle's content never changes: the key has the bundle's hash.
//
// What goes when it is full is decided by SIEVE (Zhang et al., NSDI 2024), which keeps what is asked for again
// better than "least recently used" does, and needs no exclusive lock to note that something was.
type fileCache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

type fileKey struct{ version, path string }

type cacheShard struct {
	mu         sync.RWMutex
	entries    map[fileKey]*cacheEntry
	head, tail *cacheEntry // newest, oldest
	hand       *cacheEntry // the next to look at when something must go; nil means tail
	used, max  int64       // bytes
}

type cacheEntry struct {
	key          fileKey
	file         *file
	cost         int64
	visited      atomic.Bool
	newer, older *cacheEntry
}

func newFileCache(bytes int64) *fileCache {
	c := &fileCache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = map[fileKey]*cacheEntry{}
		c.shards[i].max = bytes / cacheShards
	}
	return c
}

func (c *fileCache) shard(k fileKey) *cacheShard {
	return &c.shards[maphash.String(c.seed, k.path)%cacheShards]
}

// get returns nil if the file is not there.
func (c *fileCache) get(k fileKey) *file {
	s := c.shard(k)
	s.mu.RLock()
	e := s.entries[k]
	s.mu.RUnlock()
	if e == nil {
		return nil
	}
	if !e.visited.Load() {
		e.visited.Store(true)
	}
	return e.file
}

// put keeps a file that nobody else has yet, and returns the one to use: that of another request if it came first.
func (c *fileCache) put(k fileKey, f *file) *file {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[k]; e != nil {
		return e.file
	}
	k.path = strings.Clone(k.path) // else it would hold on to the whole request line
	f.key = k
	e := &cacheEntry{key: k, file: f, cost: fileOverhead + int64(len(k.version)+2*len(k.path))}
	if e.cost > s.max {
		return f
	}
	s.entries[k] = e
	if e.older = s.head; s.head != nil {
		s.head.newer = e
	} else {
		s.tail = e
	}
	s.head = e
	s.used += e.cost
	s.shrink()
	return f
}

// grow asks whether n more bytes may be kept with the file.
func (c *fileCache) grow(k fileKey, f *file, n int64) bool {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if e == nil || e.file != f || e.cost+n > s.max {
		return false
	}
	e.cost += n
	e.visited.Store(true)
	s.used += n
	s.shrink()
	return s.entries[k] == e
}

// shrink removes entries until the bound holds.
func (s *cacheShard) shrink() {
	for s.used > s.max && s.tail != nil {
		e := s.hand
		if e == nil {
			e = s.tail
		}
		for e.visited.Load() {
			e.visited.Store(false)
			if e = e.newer; e == nil {
				e = s.tail
			}
		}
		s.hand = e.newer
		s.remove(e)
	}
}

func (s *cacheShard) remove(e *cacheEntry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.head = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.tail = e.newer
	}
	delete(s.entries, e.key)
	s.used -= e.cost
}

// usage is what is kept, in bytes.
func (c *fileCache) usage() (bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		bytes += s.used
		s.mu.RUnlock()
	}
	return bytes
}
