package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// StageRequest names a bundle to stage.
type StageRequest struct {
	// ArchivePath is the archive's file. It is only read, and must not change meanwhile.
	ArchivePath string
	// Type is one of [Types].
	Type string
	// SHA256 is what the archive's bytes must hash to, in lower-case hexadecimal.
	SHA256 string
	// Modified becomes the modification time of all files, rounded down to whole seconds.
	Modified time.Time
}

// Stage verifies and unpacks an archive beside what is served, and adds the compressed forms. If the bundle is
// staged already, it does nothing and returns that; its Modified may then differ from the request's, see
// [Stager.Retime]. Calls for the same bundle wait for each other, and the work is done once; if the call that
// does it is cancelled, the next one takes over.
//
// Errors: [ErrHashMismatch], those of [Extract], ctx's, or what the file system said (a full disk is
// syscall.ENOSPC). After an error nothing is left behind.
func (s *Stager) Stage(ctx context.Context, r StageRequest) (*Staged, error) {
	if err := checkSHA(r.SHA256); err != nil {
		return nil, fmt.Errorf("stage bundle: %w", err)
	}
	if err := CheckType(r.Type); err != nil {
		return nil, fmt.Errorf("stage bundle %.12s: %w", r.SHA256, &ArchiveError{Reason: err.Error()})
	}
	unlock, err := s.busy.lock(ctx, r.SHA256)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if staged, ok := s.Staged(r.SHA256); ok {
		return staged, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("stage bundle %.12s: %w", r.SHA256, err)
	}
	return s.stageNow(ctx, r)
}

// Restage unpacks an archive in place of what is staged, which was damaged. Who reads the folder meanwhile finds the
// one or the other. Errors as in Stage.
func (s *Stager) Restage(ctx context.Context, r StageRequest) (*Staged, error) {
	if err := checkSHA(r.SHA256); err != nil {
		return nil, fmt.Errorf("stage bundle: %w", err)
	}
	unlock, err := s.busy.lock(ctx, r.SHA256)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.stageNow(ctx, r)
}

// stageNow words the errors of stage.
func (s *Stager) stageNow(ctx context.Context, r StageRequest) (*Staged, error) {
	staged, err := s.stage(ctx, r)
	if err != nil {
		if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return nil, fmt.Errorf("stage bundle %.12s: %w", r.SHA256, err)
	}
	return staged, nil
}

func (s *Stager) stage(ctx context.Context, r StageRequest) (*Staged, error) {
	begin := time.Now()
	archive, err := os.Open(r.ArchivePath)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	defer archive.Close()
	// All of it is hashed before any of it is unpacked, and both read the same open file.
	if err := checkHash(ctx, archive, r.SHA256); err != nil {
		return nil, err
	}
	dir, release, err := s.tempDir(r.SHA256)
	if err != nil {
		return nil, fmt.Errorf("make temporary folder: %w", err)
	}
	defer release()
	if err := os.Chmod(dir, 0o755); err != nil { // a web server of another user reads it
		return nil, fmt.Errorf("make temporary folder: %w", err)
	}
	summary, err := extract(ctx, archive, r.Type, filepath.Join(dir, FilesDir), s.limits, s.log)
	if err != nil {
		return nil, err
	}
	extracted := time.Now()
	saved, err := precompress(ctx, dir)
	if err != nil {
		return nil, err
	}
	compressed := time.Now()
	info := stagedInfo{
		Format: stagedFormat, Type: r.Type, SHA256: r.SHA256, Files: summary.Files, Bytes: summary.Bytes,
		Modified: r.Modified.UTC().Truncate(time.Second), Warnings: summary.Warnings,
	}
	if info.Tree, err = treeDigest(ctx, dir); err != nil {
		return nil, fmt.Errorf("take the digest of all files: %w", err)
	}
	if err := setTimes(ctx, dir, info.Modified); err != nil {
		return nil, fmt.Errorf("set modification times: %w", err)
	}
	if err := writeJSON(filepath.Join(dir, infoFile), infoFile+".tmp-*", info, 0o644); err != nil {
		return nil, fmt.Errorf("write %s: %w", infoFile, err)
	}
	if err := syncTree(dir); err != nil {
		return nil, fmt.Errorf("sync to disk: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root := filepath.Join(s.dir, r.SHA256)
	if _, err := os.Lstat(root); err == nil {
		// It was damaged from outside, or is of another version. The old one takes the temporary name, and goes.
		if err := exchange(dir, root); err != nil {
			if err := s.setAside(r.SHA256); err != nil {
				return nil, err
			}
			err = os.Rename(dir, root)
			if err != nil {
				return nil, fmt.Errorf("give the folder its name: %w", err)
			}
		}
	} else if err := os.Rename(dir, root); err != nil {
		return nil, fmt.Errorf("give the folder its name: %w", err)
	}
	if err := syncPath(s.dir); err != nil {
		return nil, fmt.Errorf("sync to disk: %w", err)
	}
	s.log.Info("bundle staged", zap.String("sha256", r.SHA256), zap.Int("files", info.Files), zap.Int64("bytes", info.Bytes),
		zap.Int64("gzipBytes", saved.gzipBytes), zap.Int64("brotliBytes", saved.brotliBytes),
		zap.Duration("extracted", extracted.Sub(begin)), zap.Duration("compressed", compressed.Sub(extracted)),
		zap.Duration("synced", time.Since(compressed)))
	return &Staged{
		SHA256: r.SHA256, Root: root, Files: info.Files, Bytes: info.Bytes, Modified: info.Modified, Warnings: info.Warnings,
		tree: info.Tree,
	}, nil
}

// checkHash reads a file from its beginning.
func checkHash(ctx context.Context, f *os.File, want string) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(&cancelReader{ctx: ctx, at: f}, 0, info.Size())); err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%w: it has %s, not %s", ErrHashMismatch, got, want)
	}
	return nil
}
