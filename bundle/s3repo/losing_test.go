package s3repo

import (
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// losing drops the first answer to each kind of request that lose names.
type losing struct {
	to   http.RoundTripper
	lose func(*http.Request) string

	mu   sync.Mutex
	lost map[string]bool
}

func (l *losing) RoundTrip(q *http.Request) (*http.Response, error) {
	a, err := l.to.RoundTrip(q)
	kind := l.lose(q)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || kind == "" || l.lost[kind] {
		return a, err
	}
	l.lost[kind] = true
	return nil, errors.Join(errors.New("the answer was lost"), a.Body.Close())
}

func withTransport(t *testing.T, o Options, transport http.RoundTripper) minio.Core {
	t.Helper()
	c, err := minio.NewCore(o.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(o.AccessKeyID, o.SecretAccessKey, ""), Secure: !o.NoTLS, Transport: transport, MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return *c
}
