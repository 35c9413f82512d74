package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Stager keeps the staged bundles of a node in one folder, each under the SHA-256 of its archive:
//
//	<sha256>/files/        the bundle's files
//	<sha256>/gzip/, br/    their compressed forms, where that saves something
//	<sha256>/bundle.json   what it is; the folder is whole if it is there
//	.tmp-*                 what is being made or removed
//
// A folder appears under its name by one rename when all of it is durable, and disappears by another. So what
// stands under a hash is whole, whenever the process or the machine dies. One process may use the folder.
//
// All methods are safe for concurrent use.
type Stager struct {
	dir    string
	limits Limits
	log    *zap.Logger

	busy busy

	mu   sync.Mutex
	temp map[string]bool // names of temporary folders in use
}

// StagerOptions is what a [Stager] needs.
type StagerOptions struct {
	// Dir is made if it is missing: <appRoot>/apps.
	Dir    string
	Limits Limits
	Log    *zap.Logger // nil: none
}

// tempPrefix begins the names of folders that are being made or removed.
const tempPrefix = ".tmp-"

// ErrHashMismatch is wrapped by the error of [Stager.Stage] for an archive that is not the one asked for.
var ErrHashMismatch = errors.New("the archive does not have the expected SHA-256")

// NewStager opens the folder of staged bundles and removes what a crash left behind.
func NewStager(o StagerOptions) (*Stager, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("folder of staged bundles: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder of staged bundles: %w", err)
	}
	s := &Stager{
		dir: dir, limits: o.Limits.withDefaults(), log: o.Log,
		temp: map[string]bool{},
	}
	if err := s.Clean(); err != nil {
		return nil, err
	}
	return s, nil
}

// tempDir makes a temporary folder; release removes it, if it is still there.
func (s *Stager) tempDir(sha string) (dir string, release func(), err error) {
	s.mu.Lock() // Clean must not see the folder before it is noted
	defer s.mu.Unlock()
	dir, err = os.MkdirTemp(s.dir, fmt.Sprintf("%s%.12s-", tempPrefix, sha))
	if err != nil {
		return "", nil, err
	}
	name := filepath.Base(dir)
	s.temp[name] = true
	return dir, func() {
		if err := os.RemoveAll(dir); err != nil {
			s.log.Warn("a temporary folder was not removed", zap.String("folder", dir), zap.Error(err))
		}
		s.mu.Lock()
		delete(s.temp, name)
		s.mu.Unlock()
	}, nil
}

// Staged returns a bundle that is staged. It reads one small file.
func (s *Stager) Staged(sha string) (*Staged, bool) {
	if checkSHA(sha) != nil {
		return nil, false
	}
	staged, _, err := readStaged(filepath.Join(s.dir, sha), sha)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("a staged bundle cannot be used", zap.String("sha256", sha), zap.Error(err))
	}
	return staged, err == nil
}

// List returns the SHA-256 of each staged bundle, sorted.
func (s *Stager) List() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list staged bundles: %w", err)
	}
	var list []string
	for _, e := range entries {
		if !e.IsDir() || checkSHA(e.Name()) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.dir, e.Name(), infoFile)); err == nil {
			list = append(list, e.Name())
		}
	}
	slices.Sort(list)
	return list, nil
}

// Remove removes a staged bundle. It is no error if there is none. The caller makes sure that it is not served
// any more.
func (s *Stager) Remove(sha string) error {
	if err := checkSHA(sha); err != nil {
		return fmt.Errorf("remove staged bundle: %w", err)
	}
	unlock, err := s.busy.lock(context.Background(), sha)
	if err != nil {
		return err
	}
	defer unlock()
	return s.setAside(sha)
}

// setAside takes a folder away from its name in one step, then removes it.
func (s *Stager) setAside(sha string) error {
	dir, release, err := s.tempDir(sha)
	if err != nil {
		return fmt.Errorf("remove staged bundle %.12s: %w", sha, err)
	}
	defer release()
	err = os.Rename(filepath.Join(s.dir, sha), filepath.Join(dir, "old"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove staged bundle %.12s: %w", sha, err)
	}
	return nil
}

// Clean removes what a crash left behind: temporary folders that nobody works on. [NewStager] calls it.
func (s *Stager) Clean() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("clean staged bundles: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		s.mu.Lock()
		used := s.temp[e.Name()]
		s.mu.Unlock()
		if used {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("clean staged bundles: %w", err))
			continue
		}
		s.log.Info("removed the rest of an interrupted staging", zap.String("folder", e.Name()))
	}
	return errors.Join(errs...)
}

// Retime gives all files of a staged bundle another modification time, rounded down to whole seconds: the same
// bytes may have been uploaded again. It may run while the bundle is served.
func (s *Stager) Retime(ctx context.Context, sha string, modified time.Time) (*Staged, error) {
	if err := checkSHA(sha); err != nil {
		return nil, fmt.Errorf("retime bundle: %w", err)
	}
	unlock, err := s.busy.lock(ctx, sha)
	if err != nil {
		return nil, err
	}
	defer unlock()
	root := filepath.Join(s.dir, sha)
	staged, info, err := readStaged(root, sha)
	if err != nil {
		return nil, fmt.Errorf("retime bundle %.12s: %w", sha, err)
	}
	info.Modified = modified.UTC().Truncate(time.Second)
	if err := setTimes(ctx, root, info.Modified); err != nil {
		return nil, fmt.Errorf("retime bundle %.12s: %w", sha, err)
	}
	if err := writeJSON(filepath.Join(root, infoFile), infoFile+".tmp-*", info, 0o644); err != nil {
		return nil, fmt.Errorf("retime bundle %.12s: %w", sha, err)
	}
	staged.Modified = info.Modified
	return staged, nil
}

// setTimes sets the modification time of every file below FilesDir, GzipDir and BrotliDir.
func setTimes(ctx context.Context, root string, modified time.Time) error {
	for _, part := range []string{FilesDir, GzipDir, BrotliDir} {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return os.Chtimes(path, modified, modified)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
