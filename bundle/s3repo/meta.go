package s3repo

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"statiko/bundle"
	"statiko/bundle/objectstore"
)

// SetMeta is part of [bundle.Repository]. The object is copied onto itself: the protocol knows no other way.
func (r *Repository) SetMeta(ctx context.Context, name string, meta bundle.Meta) error {
	if err := objectstore.CheckName(name); err != nil {
		return err
	}
	for again := 0; ; again++ {
		o, err := r.head(ctx, name)
		if err == nil {
			o.Meta = meta
			err = r.copy(ctx, name, o)
		}
		if err == nil {
			return nil
		}
		if statusOf(err) == http.StatusPreconditionFailed && again < 3 {
			continue // replaced between the two requests
		}
		if codeOf(err) == minio.NoSuchKey {
			err = bundle.ErrNotFound // removed between the two requests
		}
		return fmt.Errorf("describe bundle %s: %w", name, r.explain(err))
	}
}

// copy replaces what is stored beside the bytes of the version that was seen.
func (r *Repository) copy(ctx context.Context, name string, o object) error {
	if o.size > r.o.CopySize {
		return r.copyParts(ctx, name, o)
	}
	long := r.o.Policy
	long.Stall, long.Patience = completeTimeout, completeTimeout
	return long.Do(ctx, transient, func(ctx context.Context, _ func()) error {
		_, err := r.client.Client.CopyObject(ctx, minio.CopyDestOptions{
			Bucket: r.o.Bucket, Object: name, UserMetadata: o.Encode(), ReplaceMetadata: true,
		}, minio.CopySrcOptions{Bucket: r.o.Bucket, Object: name, MatchETag: o.etag})
		return err
	})
}

// copyParts is copy for an object that one request cannot copy.
func (r *Repository) copyParts(ctx context.Context, name string, o object) error {
	var replaced minio.PutObjectOptions
	replaced.SetMatchETag(o.etag)
	send := func(ctx context.Context, id string, n int, offset, length int64) (part minio.CompletePart, err error) {
		long := r.o.Policy
		long.Stall, long.Patience = completeTimeout, completeTimeout
		err = long.Do(ctx, transient, func(ctx context.Context, _ func()) (err error) {
			part, err = r.client.CopyObjectPart(ctx, r.o.Bucket, name, r.o.Bucket, name, id, n, offset, length,
				map[string]string{"x-amz-copy-source-if-match": o.etag})
			return err
		})
		return part, err
	}
	err := r.multipart(ctx, name, o.Stored, replaced, o.size, r.o.CopySize, send)
	if statusOf(err) == http.StatusNotImplemented {
		err = r.multipart(ctx, name, o.Stored, minio.PutObjectOptions{}, o.size, r.o.CopySize, send)
	}
	if statusOf(err) == http.StatusNotFound || statusOf(err) == http.StatusPreconditionFailed {
		// The answer to the last request may have been lost.
		if now, look := r.head(ctx, name); look == nil && now.Upload == o.Upload && now.Meta == o.Meta {
			return nil
		} else if errors.Is(look, bundle.ErrNotFound) {
			return look
		}
	}
	return err
}
