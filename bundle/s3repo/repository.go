package s3repo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"statiko/bundle"
	"statiko/bundle/objectstore"
)

// Options say where the bucket is and how it is used.
type Options struct {
	// Endpoint is a host with an optional port. Buckets of Amazon are asked for by host name, all others by path.
	Endpoint string
	// Region is the bucket's; "" asks the server.
	Region string
	// NoTLS talks to the endpoint without TLS.
	NoTLS bool
	// Bucket, AccessKeyID and SecretAccessKey are required.
	Bucket, AccessKeyID, SecretAccessKey string
	// Roots are the authorities of servers' certificates; nil means the machine's list.
	Roots *x509.CertPool
	// Policy bounds how long faults are borne.
	Policy objectstore.Policy
	// PartSize is that of the parts of larger uploads, in bytes; 0 means 16 MiB. An archive of up to one part is
	// sent in one request.
	PartSize int64
	// CopySize is the largest object that one request copies, in bytes; 0 means 5 GiB, the protocol's limit.
	CopySize int64
	// StaleAfter is the age from which an upload under way was left by a crash; 0 means a day.
	StaleAfter time.Duration
	Log        *zap.Logger
}

// Repository is a [bundle.Repository] in a bucket. Make it with [Open], and close it.
type Repository struct {
	o         Options
	client    minio.Core
	transport *http.Transport
	log       *zap.Logger

	mu sync.Mutex
	// creating has the names that an upload of this process is about to take, each with a channel that is closed
	// when that has ended.
	creating map[string]chan struct{}
}

var _ bundle.Repository = (*Repository)(nil)

// Sizes of the protocol and of our use of it.
const (
	defaultPart = 16 << 20
	defaultCopy = 5 << 30
	// maxParts is the protocol's limit less a reserve.
	maxParts = 9000
	// atOnce is how many requests one call has under way.
	atOnce = 4
)

// Open returns the repository without connecting to the server.
func Open(o Options) (*Repository, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.PartSize == 0 {
		o.PartSize = defaultPart
	}
	if o.CopySize == 0 {
		o.CopySize = defaultCopy
	}
	if o.StaleAfter == 0 {
		o.StaleAfter = 24 * time.Hour
	}
	for key, value := range map[string]string{"bucket": o.Bucket, "accessKeyId": o.AccessKeyID, "secretAccessKey": o.SecretAccessKey} {
		if value == "" {
			return nil, fmt.Errorf("repo.s3.%s is missing", key)
		}
	}
	transport := objectstore.NewTransport(o.Roots)
	client, err := minio.NewCore(o.Endpoint, &minio.Options{
		Creds:  credentials.NewStaticV4(o.AccessKeyID, o.SecretAccessKey, ""),
		Secure: !o.NoTLS, Region: o.Region, Transport: transport,
		MaxRetries: 1, // the policy repeats, and knows of the context and of progress
	})
	if err != nil {
		return nil, fmt.Errorf("repo.s3.endpoint: %w", err)
	}
	client.SetAppInfo("statiko", "1")
	return &Repository{o: o, client: *client, transport: transport, log: o.Log, creating: map[string]chan struct{}{}}, nil
}

// Close releases the connections. Nothing may be under way.
func (r *Repository) Close() error {
	r.transport.CloseIdleConnections()
	return nil
}

// do carries a step out within the policy.
func (r *Repository) do(ctx context.Context, step func(ctx context.Context, moved func()) error) error {
	return r.o.Policy.Do(ctx, transient, step)
}

// object is what the server says of one.
type object struct {
	objectstore.Stored
	etag     string
	size     int64
	modified time.Time
}

// head asks for an object that has bytes. ErrNotFound if there is none.
func (r *Repository) head(ctx context.Context, name string) (o object, err error) {
	o, err = r.headAny(ctx, name)
	if err == nil && o.size == 0 {
		err = bundle.ErrNotFound
	}
	return o, err
}

// headAny asks for an object, be it empty.
func (r *Repository) headAny(ctx context.Context, name string) (o object, err error) {
	err = r.do(ctx, func(ctx context.Context, _ func()) error {
		info, err := r.client.StatObject(ctx, r.o.Bucket, name, minio.StatObjectOptions{})
		o = object{
			Stored: objectstore.Decode(name, info.UserMetadata), etag: info.ETag, size: info.Size, modified: info.LastModified.UTC(),
		}
		return err
	})
	if status := statusOf(err); status == http.StatusNotFound || status == http.StatusForbidden || status == http.StatusBadRequest {
		// The answer to this question has no body, so it does not say what is missing or forbidden.
		if why := r.reach(ctx); why != nil {
			return o, why
		}
		if status == http.StatusNotFound {
			err = bundle.ErrNotFound
		}
	}
	return o, err
}

// reach asks for something that everybody who may use the bucket gets.
func (r *Repository) reach(ctx context.Context) error {
	return r.do(ctx, func(ctx context.Context, _ func()) error {
		ctx, cancel := context.WithCancel(ctx) // ends the listing after the first
		defer cancel()
		for o := range r.client.Client.ListObjectsIter(ctx, r.o.Bucket, minio.ListObjectsOptions{MaxKeys: 1}) {
			return o.Err
		}
		return ctx.Err()
	})
}

// Check returns what keeps the bucket from being used, with the keys to look at. It changes nothing.
func (r *Repository) Check(ctx context.Context) error { return r.explain(r.reach(ctx)) }

// Stat is part of [bundle.Repository].
func (r *Repository) Stat(ctx context.Context, name string) (bundle.Entry, error) {
	if err := objectstore.CheckName(name); err != nil {
		return bundle.Entry{}, err
	}
	o, err := r.head(ctx, name)
	if err != nil {
		return bundle.Entry{}, fmt.Errorf("open bundle %s: %w", name, r.explain(err))
	}
	return bundle.Entry{Name: name, Meta: o.Meta, Size: o.size, Modified: o.modified}, nil
}

// Open is part of [bundle.Repository]. What is read is one version, over breaks of the connection too; if that is gone,
// the rest is an [objectstore.ErrChanged].
func (r *Repository) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, bundle.Meta, error) {
	if err := objectstore.CheckName(name); err != nil {
		return nil, bundle.Meta{}, err
	}
	for again := 0; ; again++ {
		o, err := r.head(ctx, name)
		if err != nil {
			return nil, bundle.Meta{}, fmt.Errorf("open bundle %s: %w", name, r.explain(err))
		}
		reader := objectstore.NewReader(ctx, objectstore.ReaderOptions{
			Policy: r.o.Policy, Transient: transient, Offset: offset, Size: o.size, Source: r.source(name, o),
			Explain: func(err error) error { return fmt.Errorf("read bundle %s: %w", name, r.explain(err)) },
		})
		if err = reader.Connect(); err == nil {
			return reader, o.Meta, nil
		}
		_ = reader.Close()
		if !errors.Is(err, objectstore.ErrChanged) || again == 3 { // replaced between the two requests
			return nil, bundle.Meta{}, fmt.Errorf("open bundle %s: %w", name, r.explain(err))
		}
	}
}

// source returns the bytes of one version. Another ETag is the same version if the bytes came with the same upload.
func (r *Repository) source(name string, o object) objectstore.Source {
	return func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		for {
			get := minio.GetObjectOptions{}
			if err := errors.Join(get.SetMatchETag(o.etag), get.SetRange(offset, o.size-1)); err != nil {
				return nil, err
			}
			body, _, _, err := r.client.GetObject(ctx, r.o.Bucket, name, get)
			if status := statusOf(err); status != http.StatusPreconditionFailed && status != http.StatusNotFound {
				return body, err
			}
			now, err := r.head(ctx, name)
			switch {
			case errors.Is(err, bundle.ErrNotFound):
				return nil, objectstore.ErrChanged
			case err != nil:
				return nil, err
			case now.etag == o.etag || now.Upload == "" || now.Upload != o.Upload || now.size != o.size:
				return nil, objectstore.ErrChanged
			}
			o = now
		}
	}
}

// Remove is part of [bundle.Repository].
func (r *Repository) Remove(ctx context.Context, name string) error {
	if err := objectstore.CheckName(name); err != nil {
		return err
	}
	_, err := r.head(ctx, name) // a removal of nothing is no error to the server
	if err == nil {
		err = r.do(ctx, func(ctx context.Context, _ func()) error {
			return r.client.RemoveObject(ctx, r.o.Bucket, name, minio.RemoveObjectOptions{})
		})
	}
	if err != nil {
		return fmt.Errorf("remove bundle %s: %w", name, r.explain(err))
	}
	return nil
}

// List is part of [bundle.Repository]. Objects with names that no bundle can have are left out. The list of a bucket
// does not tell the metadata, so each bundle is asked for.
func (r *Repository) List(ctx context.Context) ([]bundle.Entry, error) {
	list, err := r.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("list bundles: %w", r.explain(err))
	}
	found := make([]bool, len(list))
	asking, each := errgroup.WithContext(ctx)
	asking.SetLimit(2 * atOnce)
	for i := range list {
		asking.Go(func() error {
			o, err := r.head(each, list[i].Name)
			if errors.Is(err, bundle.ErrNotFound) {
				return nil // removed meanwhile
			}
			list[i].Meta, found[i] = o.Meta, true
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("list bundles: %w", r.explain(err))
	}
	var all []bundle.Entry
	for i, e := range list {
		if found[i] {
			all = append(all, e)
		}
	}
	return all, nil
}

// names lists the objects that can be bundles, without what is stored beside them.
func (r *Repository) names(ctx context.Context) (list []bundle.Entry, err error) {
	err = r.do(ctx, func(ctx context.Context, moved func()) error {
		list = nil
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for o := range r.client.Client.ListObjectsIter(ctx, r.o.Bucket, minio.ListObjectsOptions{}) {
			if o.Err != nil {
				return o.Err
			}
			moved()
			if o.Size > 0 && objectstore.IsName(o.Key) {
				list = append(list, bundle.Entry{Name: o.Key, Size: o.Size, Modified: o.LastModified.UTC()})
			}
		}
		return ctx.Err()
	})
	slices.SortFunc(list, func(a, b bundle.Entry) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}
