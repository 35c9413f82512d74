package s3repo

import (
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// losing drops the first answer to a request that lose chooses.
type losing struct {
	to   http.RoundTripper
	lose func(*http.Request) bool

	mu    sync.Mutex
	count int
}

func (l *losing) RoundTrip(q *http.Request) (*http.Response, error) {
	a, err := l.to.RoundTrip(q)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.count > 0 || !l.lose(q) {
		return a, err
	}
	l.count++
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
