package s3repo

import (
	"os"
	"runtime"
	"testing"

	"statiko/bundle"
	"statiko/bundle/objectstore"
	"statiko/bundle/repotest"
	"statiko/test/objecttest"
)

func TestRemote(t *testing.T) {
	repotest.RunRemote(t, func(t *testing.T) repotest.Remote {
		s := objecttest.StartS3(t, objecttest.Pair{})
		o := options(t, s)
		proxy := s.Proxy(t)
		o.Endpoint, o.PartSize, o.CopySize = proxy.Address(), partSize, 8<<20
		return repotest.Remote{Server: s, Proxy: proxy, PartSize: partSize, Open: func(t testing.TB, policy objectstore.Policy) bundle.Repository {
			mine := o
			mine.Policy = policy
			return open(t, mine)
		}}
	})
}

// Memory does not grow with the object. With STATIKO_SOAK=1 it is of 1 GiB.
func TestStreams(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	size := int64(40 << 20)
	if os.Getenv("STATIKO_SOAK") == "1" {
		size = 1 << 30
	}
	repotest.Streams(t, open(t, options(t, s)), size, heap, 24<<20)
}

// heap returns how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
