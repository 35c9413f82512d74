package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"go.uber.org/zap"
)

// Summary is what came out of an archive.
type Summary struct {
	// Files is the number of regular files, links to files included.
	Files int
	// Bytes is the sum of their sizes.
	Bytes int64
	// Skipped counts the entries that were left out: devices, links to folders or to nothing. What macOS adds
	// (__MACOSX) is not counted.
	Skipped int
	// Warnings says for the first of them what and why.
	Warnings []string
}

const maxWarnings = 20

// Extract unpacks an archive into the folder destDir, which is made if it is missing and must be empty. If the
// archive holds one folder and nothing beside it, that folder's content becomes the root.
//
// Modes, owners and times in the archive are ignored: files get 0644, folders 0755. Folders are made whether
// the archive has entries for them or not. If a path occurs twice, the last one wins; a file where a folder is
// needed is an error. A link to a file inside becomes a hard link to it (or a copy where the file system has
// none), a link to a folder or to nothing is skipped, a link out of the folder is an error. Nothing is ever
// written outside of destDir, and no symbolic link is made.
//
// Errors: [*ArchiveError] if the archive is at fault, [ErrTooLarge] if it exceeds the limits, ctx's error if it
// was cancelled, else what the file system said. After an error destDir holds some of the files, and is the
// caller's to remove.
func Extract(ctx context.Context, archivePath, typ, destDir string, limits Limits, log *zap.Logger) (Summary, error) {
	if err := CheckType(typ); err != nil {
		return Summary{}, &ArchiveError{Reason: err.Error()}
	}
	f, err := os.Open(archivePath)
	if err != nil {
		return Summary{}, fmt.Errorf("open archive: %w", err)
	}
	defer f.Close()
	return extract(ctx, f, typ, destDir, limits, log)
}

func extract(ctx context.Context, f *os.File, typ, destDir string, limits Limits, log *zap.Logger) (Summary, error) {
	if log == nil {
		log = zap.NewNop()
	}
	info, err := f.Stat()
	if err != nil {
		return Summary{}, fmt.Errorf("open archive: %w", err)
	}
	if err := os.MkdirAll(destDir, 0o755); err != nil {
		return Summary{}, fmt.Errorf("make folder: %w", err)
	}
	if names, err := os.ReadDir(destDir); err != nil {
		return Summary{}, fmt.Errorf("read folder: %w", err)
	} else if len(names) > 0 {
		return Summary{}, fmt.Errorf("extract into %s: the folder is not empty", destDir)
	}
	root, err := os.OpenRoot(destDir)
	if err != nil {
		return Summary{}, fmt.Errorf("open folder: %w", err)
	}
	defer root.Close()
	limits = limits.withDefaults()
	x := &extractor{
		ctx: ctx, root: root, buf: make([]byte, 128<<10), tree: map[string]treeEntry{},
		budget: budget{limits: limits, archive: info.Size()},
	}
	err = walkArchive(ctx, f, info.Size(), typ, limits, x.entry)
	if err == nil {
		err = x.makeLinks()
	}
	if err == nil {
		err = x.finish()
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("extract: %w", ctx.Err())
	}
	if err == nil && x.summary.Skipped > 0 {
		log.Warn("entries of a bundle were skipped", zap.Int("skipped", x.summary.Skipped), zap.Strings("first", x.summary.Warnings))
	}
	return x.summary, err
}

// extractor writes the entries of one archive.
type extractor struct {
	ctx     context.Context
	root    *os.Root
	buf     []byte
	tree    map[string]treeEntry // by clean path: everything that the archive holds so far
	links   int
	budget  budget
	summary Summary
}

type treeEntry struct {
	kind   entryKind
	name   string // of links: as written in the archive, for messages
	target string // of links
	size   int64  // of files
}

func (x *extractor) skip(name, reason string) {
	x.summary.Skipped++
	if len(x.summary.Warnings) < maxWarnings {
		x.summary.Warnings = append(x.summary.Warnings, fmt.Sprintf("%s was skipped: %s", quoteName(name), reason))
	}
}

func (x *extractor) entry(e entry) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	if err := x.budget.addFile(); err != nil {
		return err
	}
	clean, fault := cleanEntryName(e.name)
	if fault != "" {
		return &ArchiveError{Entry: e.name, Reason: fault}
	}
	if isResourceFork(clean) {
		return x.budget.addBytes(max(e.size, 0)) // the decoder has to read over it
	}
	switch e.kind {
	case entryFolder:
		return x.folder(clean, e.name)
	case entryFile, entrySym, entryHard:
		if clean == "" {
			return &ArchiveError{Entry: e.name, Reason: "the name stands for the folder itself"}
		}
		if err := x.folder(parentOf(clean), e.name); err != nil {
			return err
		}
		if x.tree[clean].kind == entryFolder {
			return &ArchiveError{Entry: e.name, Reason: "a folder of this name is in the archive already"}
		}
		if e.kind == entryFile {
			return x.file(clean, e)
		}
		return x.link(clean, e)
	}
	x.skip(e.name, "it is neither a file nor a folder")
	return nil
}

// folder makes a folder and those above it.
func (x *extractor) folder(clean, name string) error {
	if clean == "" {
		return nil
	}
	switch t, ok := x.tree[clean]; {
	case ok && t.kind == entryFolder:
		return nil
	case ok:
		return &ArchiveError{Entry: name, Reason: fmt.Sprintf("the archive has %s as a file or link, where a folder is needed", quoteName(clean))}
	}
	if err := x.folder(parentOf(clean), name); err != nil {
		return err
	}
	if err := x.budget.addFile(); err != nil {
		return err
	}
	if err := x.root.Mkdir(clean, 0o755); err != nil {
		return fmt.Errorf("make folder for archive entry %s: %w", quoteName(name), err)
	}
	if err := x.root.Chmod(clean, 0o755); err != nil { // whatever the umask
		return fmt.Errorf("make folder for archive entry %s: %w", quoteName(name), err)
	}
	x.tree[clean] = treeEntry{kind: entryFolder}
	return nil
}

func (x *extractor) file(clean string, e entry) error {
	if err := x.budget.fits(e.size); err != nil {
		return fmt.Errorf("archive entry %s: %w", quoteName(e.name), err)
	}
	size, err := x.write(clean, e)
	if err != nil {
		return err
	}
	if e.size >= 0 && size != e.size {
		return &ArchiveError{Entry: e.name, Reason: fmt.Sprintf("has %d bytes where %d were announced", size, e.size)}
	}
	x.tree[clean] = treeEntry{kind: entryFile, size: size}
	return nil
}

func (x *extractor) write(clean string, e entry) (size int64, err error) {
	f, err := x.root.OpenFile(clean, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return 0, fmt.Errorf("write archive entry %s: %w", quoteName(e.name), err)
	}
	defer func() {
		if cerr := f.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("write archive entry %s: %w", quoteName(e.name), cerr)
		}
	}()
	if err := f.Chmod(0o644); err != nil { // whatever the umask
		return 0, fmt.Errorf("write archive entry %s: %w", quoteName(e.name), err)
	}
	for {
		n, rerr := e.body.Read(x.buf)
		if n > 0 {
			if err := x.budget.addBytes(int64(n)); err != nil {
				return size, fmt.Errorf("archive entry %s: %w", quoteName(e.name), err)
			}
			if _, err := f.Write(x.buf[:n]); err != nil {
				return size, fmt.Errorf("write archive entry %s: %w", quoteName(e.name), err)
			}
			size += int64(n)
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return size, nil
		case rerr != nil:
			return size, damaged(e.name, "is damaged", rerr)
		}
		if err := x.ctx.Err(); err != nil {
			return size, err
		}
	}
}

// finish moves a single folder's content up, and counts.
func (x *extractor) finish() error {
	for _, t := range x.tree {
		if t.kind == entryFile {
			x.summary.Files++
			x.summary.Bytes += t.size
		}
	}
	if x.summary.Files == 0 {
		return &ArchiveError{Reason: "the archive has no files"}
	}
	top, err := readNames(x.root, ".")
	if err != nil {
		return fmt.Errorf("read unpacked folder: %w", err)
	}
	if len(top) != 1 || x.tree[top[0]].kind != entryFolder {
		return nil
	}
	// The folder may hold an entry of its own name, so it gets another one first, which its content cannot have.
	const aside = ".\x01single"
	if err := x.root.Rename(top[0], aside); err != nil {
		return fmt.Errorf("move single folder up: %w", err)
	}
	names, err := readNames(x.root, aside)
	if err != nil {
		return fmt.Errorf("move single folder up: %w", err)
	}
	for _, name := range names {
		if err := x.root.Rename(path.Join(aside, name), name); err != nil {
			return fmt.Errorf("move single folder up: %w", err)
		}
	}
	if err := x.root.Remove(aside); err != nil {
		return fmt.Errorf("move single folder up: %w", err)
	}
	return nil
}

func readNames(root *os.Root, dir string) ([]string, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// parentOf returns the folder of a clean path; "" is the root.
func parentOf(clean string) string {
	if dir := path.Dir(clean); dir != "." {
		return dir
	}
	return ""
}
