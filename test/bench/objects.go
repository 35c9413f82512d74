package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"statiko/bundle"
	"statiko/bundle/s3repo"
	"statiko/test/objecttest"
)

// objectsPart is the letter of this measurement.
const objectsPart = "j"

// objects is a repository in a bucket, and the same library without it.
type objects struct {
	repository *s3repo.Repository
	raw        *minio.Client
	bucket     string
	upload     *bundle.Spool
}

// measureObjects stores and reads an archive through the repository, and does the same with the library that it uses: parts
// of the same size, as many at once. The server is on this machine and shares its processors and disk with both.
func measureObjects(ctx context.Context, b *bench) (err error) {
	size := b.size.object
	server, err := objecttest.LaunchS3(b.dir, objecttest.Pair{})
	if err != nil {
		return err
	}
	defer server.Kill()
	o := &objects{bucket: "bench"}
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	defer transport.CloseIdleConnections()
	if o.raw, err = minio.New(server.Address(), &minio.Options{
		Creds: credentials.NewStaticV4(objecttest.S3AccessKeyID, objecttest.S3SecretAccessKey, ""), Transport: transport,
	}); err != nil {
		return err
	}
	if err := o.raw.MakeBucket(ctx, o.bucket, minio.MakeBucketOptions{}); err != nil {
		return err
	}
	if o.repository, err = s3repo.Open(s3repo.Options{
		Endpoint: server.Address(), NoTLS: true, Bucket: o.bucket,
		AccessKeyID: objecttest.S3AccessKeyID, SecretAccessKey: objecttest.S3SecretAccessKey,
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.repository.Close()) }()
	if o.upload, err = bundle.NewSpool(ctx, b.dir, io.LimitReader(rand.NewChaCha8([32]byte{1}), size), size); err != nil {
		return err
	}
	defer o.upload.Discard()

	var ours, theirs [2][]float64 // stored and read, MB/s, by round
	for i := range b.size.rounds + 1 {
		for way, turn := range [2][2]func(context.Context) (time.Duration, error){{o.create, o.put}, {o.open, o.get}} {
			for side, run := range turn {
				took, err := run(ctx)
				if err != nil {
					return err
				}
				rate := float64(size) / 1e6 / took.Seconds()
				if i == 0 {
					continue // files and connections are warm from here on
				}
				if side == 0 {
					ours[way] = append(ours[way], rate)
				} else {
					theirs[way] = append(theirs[way], rate)
				}
			}
		}
	}
	for way, what := range []string{"stored in S3", "read from S3"} {
		each := ratios(ours[way], theirs[way])
		r := row{Part: objectsPart, What: fmt.Sprintf("archive of %d MiB %s", size>>20, what), Unit: "MB/s", Ours: median(ours[way])}.
			against("minio-go alone", median(theirs[way]))
		r.Ratio = median(each)
		r.Growth = fmt.Sprintf("ratios: %s to %s", number(percentile(each, 0)), number(percentile(each, 100)))
		b.add(r.ratioAtLeast(0.9))
	}
	return nil
}

func (o *objects) create(ctx context.Context) (time.Duration, error) {
	if err := o.repository.Remove(ctx, "ours"); err != nil && !errors.Is(err, bundle.ErrNotFound) {
		return 0, err
	}
	return stopwatch(func() error { return o.repository.Create(ctx, "ours", o.upload, bundle.Meta{Type: "tar"}) })
}

func (o *objects) put(ctx context.Context) (time.Duration, error) {
	if err := o.raw.RemoveObject(ctx, o.bucket, "them", minio.RemoveObjectOptions{}); err != nil {
		return 0, err
	}
	file, err := o.upload.Open()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return stopwatch(func() error {
		_, err := o.raw.PutObject(ctx, o.bucket, "them", file, o.upload.Size, minio.PutObjectOptions{PartSize: 16 << 20, NumThreads: 4})
		return err
	})
}

func (o *objects) open(ctx context.Context) (time.Duration, error) {
	return stopwatch(func() error {
		body, _, err := o.repository.Open(ctx, "ours", 0)
		if err != nil {
			return err
		}
		defer body.Close()
		return whole(body, o.upload.Size)
	})
}

func (o *objects) get(ctx context.Context) (time.Duration, error) {
	return stopwatch(func() error {
		body, err := o.raw.GetObject(ctx, o.bucket, "them", minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer body.Close()
		return whole(body, o.upload.Size)
	})
}

// whole reads to the end, which must be at the size.
func whole(r io.Reader, size int64) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 64<<10))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes of %d", n, size)
	}
	return err
}
