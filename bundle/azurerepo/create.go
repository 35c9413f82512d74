package azurerepo

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"golang.org/x/sync/errgroup"

	"statiko/bundle"
	"statiko/bundle/objectstore"
)

// Create is part of [bundle.Repository].
//
// Blocks of an upload that failed are visible to nobody. The protocol has no way to remove them: the server does it when
// the name is taken, or after a week.
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
	file, err := upload.Open()
	if err != nil {
		return err
	}
	defer file.Close()
	for again := 0; ; again++ {
		condition, err := r.absent(ctx, name)
		if err != nil {
			return err
		}
		if err = r.put(ctx, name, file, upload.Size, stored, condition); err == nil {
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
			// The server says so again and again, also where it does not show the blob yet.
			return bundle.ErrExists
		}
	}
}

// absent returns the condition that the name is still free. A blob of no bytes counts as missing, and is replaced.
func (r *Repository) absent(ctx context.Context, name string) (*blob.AccessConditions, error) {
	old, err := r.headAny(ctx, name)
	switch {
	case errors.Is(err, bundle.ErrNotFound):
		any := azcore.ETagAny
		return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &any}}, nil
	case err != nil:
		return nil, err
	case old.size > 0:
		return nil, bundle.ErrExists
	}
	return matches(old.etag), nil
}

// isMine tells whether a blob came with the upload. It is asked also after ctx has ended, for a moment.
func (r *Repository) isMine(ctx context.Context, name, upload string) (bool, error) {
	ctx, cancel := objectstore.LastWord(ctx)
	defer cancel()
	now, err := r.head(ctx, name)
	if errors.Is(err, bundle.ErrNotFound) {
		return false, nil
	}
	return err == nil && now.Upload == upload, err
}

// contentType is that of every bundle.
var contentType = "application/octet-stream"

// put sends the file.
func (r *Repository) put(ctx context.Context, name string, file *os.File, size int64, stored objectstore.Stored, condition *blob.AccessConditions) error {
	if size > r.o.BlockSize {
		return r.putBlocks(ctx, name, file, size, stored, condition)
	}
	return r.do(ctx, func(ctx context.Context, moved func()) error {
		_, err := r.blob(name).Upload(ctx, objectstore.NewSection(file, 0, size, moved), &blockblob.UploadOptions{
			Metadata: encode(stored), AccessConditions: condition, HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &contentType},
		})
		return err
	})
}

// putBlocks sends the file in blocks, each of which is repeated by itself, and makes a blob of them.
func (r *Repository) putBlocks(ctx context.Context, name string, file *os.File, size int64, stored objectstore.Stored, condition *blob.AccessConditions) error {
	blockSize := max(r.o.BlockSize, (size/maxBlocks|(1<<20-1))+1)
	ids := make([]string, (size+blockSize-1)/blockSize)
	sending, each := errgroup.WithContext(ctx)
	sending.SetLimit(atOnce)
	for i := range ids {
		// The upload's mark keeps two uploads of one name apart.
		ids[i] = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s-%05d", stored.Upload, i))
		offset := int64(i) * blockSize
		sending.Go(func() error {
			return r.do(each, func(ctx context.Context, moved func()) error {
				_, err := r.blob(name).StageBlock(ctx, ids[i], objectstore.NewSection(file, offset, min(blockSize, size-offset), moved), nil)
				return err
			})
		})
	}
	if err := sending.Wait(); err != nil {
		return err
	}
	return r.do(ctx, func(ctx context.Context, _ func()) error {
		_, err := r.blob(name).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
			Metadata: encode(stored), AccessConditions: condition, HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &contentType},
		})
		return err
	})
}

// isTaken tells whether the condition of an upload did not hold, or whether another upload of the name has ended and
// taken the blocks of this one with it.
func isTaken(err error) bool {
	status := statusOf(err)
	return status == http.StatusPreconditionFailed || status == http.StatusConflict || codeOf(err) == "InvalidBlockList"
}
