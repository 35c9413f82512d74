package builtin

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"bufio"
)

func TestCache_StaysWithinItsBound(t *testing.T) {
	t.Parallel()
	const bound = 1 << 20
	c := newFileCache(bound)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 2000 {
				k := fileKey{version: "v", path: fmt.Sprintf("/%d/%d", worker%2, i%500)}
				f := c.get(k)
				if f == nil {
					f = c.put(k, &file{key: k})
				}
				if f.key != k {
					t.Errorf("asked for %v, got %v", k, f.key)
				}
				if i%3 == 0 && f.forms[identity].body.Load() == nil && c.grow(k, f, 10_000) {
					b := make([]byte, 10_000)
					f.forms[identity].body.Store(&b)
				}
				if used := c.usage(); used > bound {
					t.Errorf("%d bytes are kept, more than %d", used, bound)
					return
				}
			}
		})
	}
	all.Wait()
	var entries int64
	for i := range c.shards {
		s := &c.shards[i]
		var n, cost int64
		for e := s.head; e != nil; e = e.older {
			n, cost = n+1, cost+e.cost
			if s.entries[e.key] != e {
				t.Errorf("%v is in the list only", e.key)
			}
		}
		if n != int64(len(s.entries)) || cost != s.used {
			t.Errorf("shard %d: %d entries of %d bytes in the list, %d of %d in the books", i, n, cost, len(s.entries), s.used)
		}
		entries += n
	}
	if entries == 0 {
		t.Error("nothing is kept at all")
	}
}

func TestCache_KeepsWhatIsAskedForAgain(t *testing.T) {
	t.Parallel()
	c := newFileCache(cacheShards * 20 * fileOverhead)
	hot := fileKey{"v", "/hot"}
	c.put(hot, &file{key: hot})
	for i := range 5000 {
		if c.get(hot) == nil {
			t.Fatalf("gone after %d others that were asked for once", i)
		}
		k := fileKey{"v", fmt.Sprintf("/%d", i)}
		c.put(k, &file{key: k})
	}
}

func TestCache_TooSmallOrNone(t *testing.T) {
	t.Parallel()
	for _, bytes := range []int64{-1, 1, 30 * fileOverhead} {
		s := start(t, Options{CacheBytes: bytes})
		apply(t, s, stage(t, newSite(t, "c.test"), map[string]string{"a.txt": strings.Repeat("a", 60_000)}))
		c := dial(t, s, "c.test")
		in := bufio.NewReader(c)
		for range 3 {
			_, _ = io.WriteString(c, "GET /a.txt HTTP/1.1\r\nHost: c.test\r\n\r\n")
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(res.Body); err != nil || len(b) != 60_000 {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		}
		if used := s.files.usage(); used > max(bytes, 0) {
			t.Errorf("%d bytes are kept, more than %d", used, bytes)
		}
	}
}
