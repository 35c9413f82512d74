package builtin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"statiko/bundle"
)

// file is one file of a bundle with its forms, in the shape in which answers need it: header values are made
// once and shared by all answers, so nobody may change them.
type file struct {
	key          fileKey
	contentType  []string
	modified     time.Time
	lastModified []string // nil for a page of our own
	negotiated   bool     // there is more than one form
	// varies tells caches that the form may depend on the request. It goes by the name, so that it does not change
	// with a file that grows past the size from which there are other forms.
	varies bool
	forms  [encodings]form
}

// form is one representation of a file.
type form struct {
	exists bool
	path   string // of the file on disk
	size   int64
	etag   []string
	length []string
	coding []string // nil for identity
	body   atomic.Pointer[[]byte]
}

// errIsFolder says that a path names a folder.
var errIsFolder = errors.New("is a folder")

// loadFile looks a file up. Errors: fs.ErrNotExist, fs.ErrPermission, errIsFolder, or a fault of the disk.
// Nothing but regular files is ever opened: a staged bundle has no links, and should one get there all the
// same, it is not followed at the end of the path.
func loadFile(root string, key fileKey) (*file, error) {
	f := &file{key: key, contentType: []string{contentType(key.path)}, varies: bundle.Compressible(key.path)}
	folders := [encodings]string{identity: bundle.FilesDir, gzipped: bundle.GzipDir, brotli: bundle.BrotliDir}
	for i, folder := range folders {
		path := filepath.Join(root, folder) + key.path
		info, err := os.Lstat(path)
		switch {
		case err == nil && info.IsDir() && i == identity:
			return nil, errIsFolder
		case err == nil && !info.Mode().IsRegular():
			err = fs.ErrNotExist
		case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
			err = fs.ErrNotExist
		}
		if err != nil {
			if i == identity {
				return nil, err
			}
			continue // the form that is always there will do
		}
		if i == identity {
			f.modified = info.ModTime().Truncate(time.Second)
			f.lastModified = []string{f.modified.UTC().Format(http.TimeFormat)}
		} else {
			f.negotiated = true
		}
		f.forms[i].describe(path, info.Size(), entityTag(info.ModTime(), info.Size()))
	}
	f.forms[gzipped].coding, f.forms[brotli].coding = []string{"gzip"}, []string{"br"}
	return f, nil
}

func (f *form) describe(path string, size int64, etag string) {
	f.exists, f.path, f.size = true, path, size
	f.etag, f.length = []string{etag}, []string{strconv.FormatInt(size, 10)}
}

// entityTag is that of nginx: equal on all nodes, whatever serves there.
func entityTag(modified time.Time, size int64) string {
	return `"` + strconv.FormatInt(modified.Unix(), 16) + "-" + strconv.FormatInt(size, 16) + `"`
}

// small returns the body if it is one that is kept in memory, reading it if need be; nil for a large one.
func (f *form) small(c *fileCache, owner *file) ([]byte, error) {
	if b := f.body.Load(); b != nil {
		return *b, nil
	}
	if f.size > maxCachedBody {
		return nil, nil
	}
	src, err := f.open()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	b := make([]byte, f.size)
	if _, err := io.ReadFull(src, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	if c.grow(owner.key, owner, f.size) {
		f.body.Store(&b)
	}
	return b, nil
}

// open opens the file and makes sure that it is the one that was described.
func (f *form) open() (*os.File, error) {
	src, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := src.Stat()
	if err == nil && (info.Size() != f.size || !info.Mode().IsRegular()) {
		err = fmt.Errorf("%s changed after the bundle was staged", f.path)
	}
	if err != nil {
		_ = src.Close()
		return nil, err
	}
	return src, nil
}
