package s3repo

import (
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"statiko/bundle"
	"statiko/bundle/objectstore"
	"statiko/bundle/repotest"
	"statiko/test/objecttest"
)

// quick is a policy for tests, in which servers are away on purpose.
var quick = objectstore.Policy{Patience: 10 * time.Second, Stall: 5 * time.Second, Pause: 20 * time.Millisecond, PauseMax: 200 * time.Millisecond}

// options are those of a repository on a server, in a bucket of its own.
func options(t testing.TB, s objecttest.S3) Options {
	t.Helper()
	return Options{
		Endpoint: s.Address(), NoTLS: true, Bucket: s.Bucket(t), Policy: quick,
		AccessKeyID: objecttest.S3AccessKeyID, SecretAccessKey: objecttest.S3SecretAccessKey, Log: zaptest.NewLogger(t),
	}
}

func open(t testing.TB, o Options) *Repository {
	t.Helper()
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestRepository(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	repotest.Run(t, func(t *testing.T) bundle.Repository { return open(t, options(t, s)) })
}
