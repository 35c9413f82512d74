package cli

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"
)

// folderTree is what is going to be packed of a folder.
type folderTree struct {
	// entries are sorted by name, folders before what is in them.
	entries []folderEntry
	// leftOut are the names of what is not packed.
	leftOut []string
	// size is that of all files, in bytes.
	size int64
}

// folderEntry is a file or folder to be packed.
type folderEntry struct {
	// name is relative and slash-separated; that of a folder ends with a slash.
	name string
	// file is where it really is; "" for a folder.
	file string
	size int64
}

// scan is one pass over a folder.
type scan struct {
	tree folderTree
	// root is the folder, without symbolic links.
	root string
	all  bool
	// ignore is what the folder itself says.
	ignore ignore
	// faults are what cannot be packed.
	faults []string
}

// scanFolder finds what is to be packed, before anything is sent.
func scanFolder(dir string, all bool) (*folderTree, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, localError(err, "could not find the folder")
	}
	s := &scan{root: abs, all: all}
	if !all {
		if s.ignore, err = readIgnore(abs); err != nil {
			return nil, err
		}
	}
	if err := s.folder(abs, "", []string{abs}); err != nil {
		return nil, localError(err, "could not read the folder %s", dir)
	}
	if len(s.faults) > 0 {
		sort.Strings(s.faults)
		return nil, userError("%s cannot be packed; nothing was sent:\n  %s", dir, strings.Join(s.faults, "\n  "))
	}
	files := 0
	for _, e := range s.tree.entries {
		if e.file != "" {
			files++
		}
	}
	if files == 0 {
		return nil, userError("there is no file to pack in %s", dir)
	}
	return &s.tree, nil
}

// folder adds what is in dir, which is called name in the archive ("" for the root). Above are the real folders on
// the way here, to find links that lead round in a circle.
func (s *scan) folder(dir, name string, above []string) error {
	list, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	for _, d := range list {
		entry := path.Join(name, d.Name())
		if !s.all && s.leaveOut(filepath.Join(dir, d.Name()), entry, d) {
			s.tree.leftOut = append(s.tree.leftOut, entry)
			continue
		}
		if !utf8.ValidString(entry) {
			s.fault(entry, "the name is not UTF-8")
			continue
		}
		if strings.ContainsFunc(entry, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
			s.fault(entry, "a name with control characters or backslashes cannot be served")
			continue
		}
		if err := s.entry(filepath.Join(dir, d.Name()), entry, above); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut tells whether an entry is not to be packed.
func (s *scan) leaveOut(file, name string, d fs.DirEntry) bool {
	folder := d.IsDir()
	if d.Type()&fs.ModeSymlink != 0 && len(s.ignore) > 0 {
		// It is packed as what it points to. A link to nothing is no folder.
		info, err := os.Stat(file)
		folder = err == nil && info.IsDir()
	}
	if named, keep := s.ignore.says(name, folder); named {
		return !keep
	}
	return isLitter(d.Name()) || name == ignoreFile
}

// entry adds one file, folder or link.
func (s *scan) entry(file, name string, above []string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, _ := os.Readlink(file)
		if file, err = filepath.EvalSymlinks(file); err != nil {
			s.fault(name, "the symbolic link points to nothing: "+target)
			return nil
		}
		if file != s.root && !strings.HasPrefix(file, s.root+string(filepath.Separator)) {
			s.fault(name, "the symbolic link points out of the folder: "+target)
			return nil
		}
		if info, err = os.Stat(file); err != nil {
			return err
		}
	}
	switch {
	case info.IsDir():
		for _, a := range above {
			if a == file {
				s.fault(name, "the symbolic link leads round in a circle")
				return nil
			}
		}
		s.tree.entries = append(s.tree.entries, folderEntry{name: name + "/"})
		return s.folder(file, name, append(above[:len(above):len(above)], file))
	case info.Mode().IsRegular():
		s.tree.entries = append(s.tree.entries, folderEntry{name: name, file: file, size: info.Size()})
		s.tree.size += info.Size()
	default:
		s.tree.leftOut = append(s.tree.leftOut, name+" (no regular file)")
	}
	return nil
}

func (s *scan) fault(name, reason string) { s.faults = append(s.faults, name+": "+reason) }

// isLitter tells what version control, editors and operating systems leave in folders, and where programs keep
// passwords: none of it is meant for the public. Other names with a dot, such as .well-known, are.
func isLitter(name string) bool {
	switch name {
	case ".git", ".gitignore", ".gitattributes", ".gitmodules", ".gitkeep", ".hg", ".hgignore", ".svn", ".bzr", "CVS",
		".DS_Store", "__MACOSX", ".Spotlight-V100", ".Trashes", ".fseventsd", "Thumbs.db", "desktop.ini", ".directory",
		".idea", ".vscode", ".env":
		return true
	}
	return strings.HasPrefix(name, "._") || strings.HasPrefix(name, ".env.") ||
		strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".swp")
}
