package bundle

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Staged is a bundle that lies on this node's disk, ready to be served.
type Staged struct {
	// SHA256 is that of the archive, in lower-case hexadecimal.
	SHA256 string
	// Root is the folder that holds [FilesDir], [GzipDir] and [BrotliDir].
	Root string
	// Files is the number of files, without the compressed forms.
	Files int
	// Bytes is the sum of their sizes.
	Bytes int64
	// Modified is the modification time that all files have: whole seconds, UTC.
	Modified time.Time
	// Warnings name the first entries of the archive that were skipped, and why.
	Warnings []string

	tree string
}

// Manifest reads the manifest of this name from the bundle; nil without error if the bundle has none. A faulty
// one is a [*ManifestError].
func (s *Staged) Manifest(name string) (*Manifest, error) {
	clean, fault := cleanEntryName(name)
	if fault != "" || clean == "" {
		return nil, fmt.Errorf("manifest file %q: is not a name inside a bundle", name)
	}
	root, err := os.OpenRoot(filepath.Join(s.Root, FilesDir))
	if err != nil {
		return nil, fmt.Errorf("open bundle %.12s: %w", s.SHA256, err)
	}
	defer root.Close()
	f, err := root.Open(clean)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, &ManifestError{Name: name, Faults: []ManifestFault{{Message: "is not a file"}}}
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxManifestSize+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return ParseManifest(name, data)
}

// stagedInfo is the form of bundle.json.
type stagedInfo struct {
	Format   int       `json:"format"`
	Type     string    `json:"type"`
	SHA256   string    `json:"sha256"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
	Warnings []string  `json:"warnings,omitempty"`
	// Tree is the digest of all files; see treeDigest. Empty if it was not taken.
	Tree string `json:"tree,omitempty"`
}

// stagedFormat is the version of a staged folder's layout. A folder of another version is staged again.
const stagedFormat = 1

func readStaged(root, sha string) (*Staged, *stagedInfo, error) {
	data, err := os.ReadFile(filepath.Join(root, infoFile))
	if err != nil {
		return nil, nil, err
	}
	var info stagedInfo
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", infoFile, err)
	}
	if info.Format != stagedFormat || info.SHA256 != sha {
		return nil, nil, fmt.Errorf("%s: is of format %d for %q", infoFile, info.Format, info.SHA256)
	}
	return &Staged{
		SHA256: sha, Root: root, Files: info.Files, Bytes: info.Bytes,
		Modified: info.Modified.UTC(), Warnings: info.Warnings, tree: info.Tree,
	}, &info, nil
}

// checkSHA accepts 64 lower-case hexadecimal digits: what a staged folder is called.
func checkSHA(sha string) error {
	raw, err := hex.DecodeString(sha)
	if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != sha {
		return fmt.Errorf("%q is not a SHA-256 in lower-case hexadecimal", sha)
	}
	return nil
}
