package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// treeDigest returns a digest over the names, sizes and contents of all files of a staged bundle, compressed forms
// too, in the order of their names.
func treeDigest(ctx context.Context, root string) (string, error) {
	h := sha256.New()
	buf := make([]byte, 128<<10)
	for _, part := range []string{FilesDir, GzipDir, BrotliDir} {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%q %d\n", filepath.ToSlash(name), info.Size())
			_, err = io.CopyBuffer(struct{ io.Writer }{h}, &contextReader{ctx: ctx, r: f}, buf)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Sound reads all files of the bundle and tells whether they are as they were unpacked.
func (s *Staged) Sound(ctx context.Context) (bool, error) {
	if s.tree == "" {
		return true, nil
	}
	now, err := treeDigest(ctx, s.Root)
	if err != nil && ctx.Err() == nil {
		return false, nil // what cannot be read, or is gone, is not sound
	}
	return now == s.tree, err
}
