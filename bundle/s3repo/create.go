package s3repo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"statiko/bundle"
	"statiko/bundle/objectstore"
)

// Create is part of [bundle.Repository].
//
// The server is asked to refuse if the name is taken meanwhile (If-None-Match). Some servers do not know that: those
// that say so are asked without, and for those that say nothing there is a look before. Two nodes that create
// the same name at the same moment are then told apart only as far as the server does it.
func (r *Repository) Create(ctx context.Context, name string, upload *bundle.Spool, meta bundle.Meta) error {
	if err := objectstore.CheckName(name); err != nil {
		return err
	}
	if err := r.create(ctx, name, upload, objectstore.Stored{Meta: meta, Upload: objectstore.NewUpload()}); err != nil {
		return fmt.Errorf("store bundle %s: %w", name, r.explain(err))
	}
	return nil
}

func (r *Repository) create(ctx context.Context, name string, upload *bundle.Spool, stored objectstore.Stored) error {
	release, err := r.take(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	file, err := upload.Open()
	if err != nil {
		return err
	}
	defer file.Close()
	for again := 0; ; again++ {
		var options minio.PutObjectOptions
		switch old, err := r.headAny(ctx, name); {
		case err == nil && old.size > 0:
			return bundle.ErrExists
		case err == nil: // of no bytes: counts as missing
			options.SetMatchETag(old.etag)
		case errors.Is(err, bundle.ErrNotFound):
			options.SetMatchETagExcept("*")
		default:
			return err
		}
		err = r.put(ctx, name, file, upload.Size, stored, options)
		if statusOf(err) == http.StatusNotImplemented {
			err = r.put(ctx, name, file, upload.Size, stored, minio.PutObjectOptions{})
		}
		if err == nil {
			return nil
		}
		taken := isTaken(err)
		if !taken && !transient(err) && ctx.Err() == nil {
			return err
		}
		// An answer may have been lost: what is there now tells whose it is.
		switch mine, look := r.isMine(ctx, name, stored.Upload); {
		case mine:
			return nil
		case !taken:
			return err
		case look != nil:
			return look
		case again == 3:
			return err
		}
	}
}

// isMine tells whether an object came with the upload. It is asked also after ctx has ended, for a moment.
func (r *Repository) isMine(ctx context.Context, name, upload string) (bool, error) {
	ctx, cancel := objectstore.LastWord(ctx)
	defer cancel()
	now, err := r.head(ctx, name)
	if errors.Is(err, bundle.ErrNotFound) {
		return false, nil
	}
	return err == nil && now.Upload == upload, err
}

// take waits until no other upload of this process is about to take the name.
func (r *Repository) take(ctx context.Context, name string) (release func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.mu.Lock()
		other, taken := r.creating[name]
		if !taken {
			mine := make(chan struct{})
			r.creating[name] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.creating, name)
				r.mu.Unlock()
				close(mine)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
		}
	}
}

// put sends the file. options has the condition.
func (r *Repository) put(ctx context.Context, name string, file *os.File, size int64, stored objectstore.Stored, options minio.PutObjectOptions) error {
	if size > r.o.PartSize {
		return r.putParts(ctx, name, file, size, stored, options)
	}
	options.UserMetadata = stored.Encode()
	return r.do(ctx, func(ctx context.Context, moved func()) error {
		_, err := r.client.PutObject(ctx, r.o.Bucket, name, objectstore.NewSection(file, 0, size, moved), size, "", "", options)
		return err
	})
}

// putParts sends the file in parts, each of which is repeated by itself, and makes an object of them, or leaves nothing.
func (r *Repository) putParts(ctx context.Context, name string, file *os.File, size int64, stored objectstore.Stored, condition minio.PutObjectOptions) error {
	partSize := max(r.o.PartSize, (size/maxParts|(1<<20-1))+1)
	return r.multipart(ctx, name, stored, condition, size, partSize, func(ctx context.Context, id string, n int, offset, length int64) (minio.CompletePart, error) {
		var part minio.ObjectPart
		err := r.do(ctx, func(ctx context.Context, moved func()) (err error) {
			part, err = r.client.PutObjectPart(ctx, r.o.Bucket, name, id, n, objectstore.NewSection(file, offset, length, moved), length, minio.PutObjectPartOptions{})
			return err
		})
		return minio.CompletePart{PartNumber: n, ETag: part.ETag}, err
	})
}

// sendPart brings one part of a multipart upload to the server.
type sendPart func(ctx context.Context, id string, n int, offset, length int64) (minio.CompletePart, error)

// multipart makes an object of parts. Whatever goes wrong, the parts are removed.
func (r *Repository) multipart(ctx context.Context, name string, stored objectstore.Stored, condition minio.PutObjectOptions, size, partSize int64, send sendPart) (err error) {
	var id string
	if err := r.do(ctx, func(ctx context.Context, _ func()) (err error) {
		id, err = r.client.NewMultipartUpload(ctx, r.o.Bucket, name, minio.PutObjectOptions{UserMetadata: stored.Encode()})
		return err
	}); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			r.abort(ctx, name, id)
		}
	}()
	parts := make([]minio.CompletePart, (size+partSize-1)/partSize)
	sending, each := errgroup.WithContext(ctx)
	sending.SetLimit(atOnce)
	for i := range parts {
		offset := int64(i) * partSize
		sending.Go(func() (err error) {
			parts[i], err = send(each, id, i+1, offset, min(partSize, size-offset))
			return err
		})
	}
	if err := sending.Wait(); err != nil {
		return err
	}
	// The server may take long to put many parts together.
	long := r.o.Policy
	long.Stall, long.Patience = completeTimeout, completeTimeout
	return long.Do(ctx, transient, func(ctx context.Context, _ func()) error {
		_, err := r.client.CompleteMultipartUpload(ctx, r.o.Bucket, name, id, parts, condition)
		return err
	})
}

// completeTimeout bounds how long the server may put parts together.
const completeTimeout = 5 * time.Minute

// abort removes the parts of an upload. A part that was on its way when the upload ended may arrive after that, so it
// is looked for once more. What cannot be removed is removed at a later start.
func (r *Repository) abort(ctx context.Context, name, id string) {
	ctx, cancel := objectstore.LastWord(ctx)
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		err := r.do(ctx, func(ctx context.Context, _ func()) error {
			return r.client.AbortMultipartUpload(ctx, r.o.Bucket, name, id)
		})
		if err == nil || statusOf(err) == http.StatusNotFound {
			err = objectstore.Sleep(ctx, pause)
		}
		if err == nil {
			_, err = r.client.ListObjectParts(ctx, r.o.Bucket, name, id, 0, 1)
		}
		switch {
		case err == nil:
			continue
		case statusOf(err) != http.StatusNotFound:
			r.log.Warn("the parts of an interrupted upload stay in the bucket; a later start removes them",
				zap.String("bundle", name), zap.Error(r.explain(err)))
		}
		return
	}
}

// Clean removes the parts of uploads that a crash left. Those of running uploads are younger.
func (r *Repository) Clean(ctx context.Context) error {
	var marker, idMarker string
	for {
		var page minio.ListMultipartUploadsResult
		if err := r.do(ctx, func(ctx context.Context, _ func()) (err error) {
			page, err = r.client.ListMultipartUploads(ctx, r.o.Bucket, "", marker, idMarker, "", 1000)
			return err
		}); err != nil {
			return fmt.Errorf("remove what interrupted uploads left: %w", r.explain(err))
		}
		for _, u := range page.Uploads {
			if objectstore.IsName(u.Key) && time.Since(u.Initiated) > r.o.StaleAfter {
				r.abort(ctx, u.Key, u.UploadID)
				r.log.Info("removed the parts of an interrupted upload", zap.String("bundle", u.Key))
			}
		}
		if !page.IsTruncated {
			return nil
		}
		marker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
