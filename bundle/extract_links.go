package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

const (
	maxLinks     = 10_000 // in an archive
	maxLinkHops  = 40     // links on the way to a file: what Linux follows
	maxLinkSteps = 1000   // path parts on that way; bounds the work for hostile chains
)

// link notes a link. Links are made when all files are there, because a target may come after its link.
func (x *extractor) link(clean string, e entry) error {
	if x.links++; x.links > maxLinks {
		return fmt.Errorf("the archive has more than %d links: %w", maxLinks, ErrTooLarge)
	}
	if len(e.target) > maxLinkTarget {
		return &ArchiveError{Entry: e.name, Reason: fmt.Sprintf("the link's target has more than %d bytes", maxLinkTarget)}
	}
	if x.tree[clean].kind == entryFile {
		if err := x.root.Remove(clean); err != nil {
			return fmt.Errorf("replace archive entry %s: %w", quoteName(e.name), err)
		}
	}
	x.tree[clean] = treeEntry{kind: e.kind, name: e.name, target: e.target}
	return nil
}

// makeLinks turns the links to files into hard links, which need no care when they are served.
func (x *extractor) makeLinks() error {
	var links []string
	for clean, t := range x.tree {
		if t.kind == entrySym || t.kind == entryHard {
			links = append(links, clean)
		}
	}
	slices.Sort(links)
	made := map[string]int64{}
	for _, clean := range links {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		t := x.tree[clean]
		target, fault := x.resolve(clean, t)
		if fault != "" {
			return &ArchiveError{Entry: t.name, Reason: fmt.Sprintf("the link to %s %s", quoteName(t.target), fault)}
		}
		file, ok := x.tree[target]
		switch {
		case target == "" || ok && file.kind == entryFolder:
			x.skip(t.name, fmt.Sprintf("it is a link to the folder %s", quoteName(t.target)))
			continue
		case !ok:
			x.skip(t.name, fmt.Sprintf("it is a link to %s, which is not in the archive", quoteName(t.target)))
			continue
		}
		// A link costs no disk, but it is compressed and counted like a file.
		if err := x.budget.addBytes(file.size); err != nil {
			return fmt.Errorf("archive entry %s: %w", quoteName(t.name), err)
		}
		if err := linkOrCopy(x.root, target, clean, x.buf); err != nil {
			return fmt.Errorf("write archive entry %s: %w", quoteName(t.name), err)
		}
		made[clean] = file.size
	}
	for clean, size := range made {
		x.tree[clean] = treeEntry{kind: entryFile, size: size}
	}
	return nil
}

// resolve follows a link, and the links on its way, to the clean path of something that is no link; whether
// that exists is left open. It works on the archive's own tree, never on the disk.
func (x *extractor) resolve(clean string, t treeEntry) (target, fault string) {
	var at []string // where we are, free of links
	var todo []string
	follow := func(t treeEntry) string {
		if strings.HasPrefix(t.target, "/") || strings.ContainsAny(t.target, "\\\x00") {
			return "leaves the bundle"
		}
		if t.kind == entryHard {
			at = nil
		}
		todo = append(strings.Split(t.target, "/"), todo...)
		return ""
	}
	if dir := parentOf(clean); dir != "" {
		at = strings.Split(dir, "/")
	}
	if fault := follow(t); fault != "" {
		return "", fault
	}
	hops := 1
	for steps := 0; len(todo) > 0; steps++ {
		part := todo[0]
		todo = todo[1:]
		switch {
		case steps > maxLinkSteps:
			return "", "goes through too many folders"
		case part == "" || part == ".":
			continue
		case part == ".." && len(at) == 0:
			return "", "leaves the bundle"
		case part == "..":
			at = at[:len(at)-1]
			continue
		}
		next := part
		if len(at) > 0 {
			next = path.Join(strings.Join(at, "/"), part)
		}
		if t := x.tree[next]; t.kind == entrySym || t.kind == entryHard {
			if hops++; hops > maxLinkHops {
				return "", "goes round in a circle or through too many links"
			}
			if fault := follow(t); fault != "" {
				return "", fault
			}
			continue
		}
		at = append(slices.Clip(at), part)
	}
	return strings.Join(at, "/"), ""
}

func linkOrCopy(root *os.Root, oldName, newName string, buf []byte) (err error) {
	err = root.Link(oldName, newName)
	if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	src, err := root.Open(oldName)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := root.OpenFile(newName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := dst.Chmod(0o644); err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf)
	return err
}
