package bundle

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxEntryName  = 1024 // bytes of a whole path; the kernel's PATH_MAX is 4096 with the folder before it
	maxEntryPart  = 255  // bytes of one part: NAME_MAX of common file systems
	maxLinkTarget = 1024 // bytes
)

// cleanEntryName returns the relative slash-separated path that an entry's name stands for, without empty parts
// and single dots; "" is the root. Whatever could mean a place outside of the folder on any system, or could not
// be requested by a browser, is refused and not repaired.
func cleanEntryName(name string) (clean, fault string) {
	switch {
	case name == "":
		return "", "the name is empty"
	case len(name) > maxEntryName:
		return "", fmt.Sprintf("the name has %d bytes; at most %d are allowed", len(name), maxEntryName)
	case !utf8.ValidString(name):
		return "", "the name is not UTF-8; pack it again with UTF-8 names"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", "the name has control characters"
	case strings.Contains(name, `\`):
		return "", `the name has a backslash; folders are separated by "/" in archives`
	case name[0] == '/':
		return "", "the name is absolute"
	case len(name) >= 2 && name[1] == ':' && (name[0]|0x20 >= 'a' && name[0]|0x20 <= 'z'):
		return "", "the name begins with a drive letter"
	}
	parts := make([]string, 0, 8)
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", `the name leaves its folder with ".."`
		case len(part) > maxEntryPart:
			return "", fmt.Sprintf("a part of the name has %d bytes; at most %d are allowed", len(part), maxEntryPart)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "/"), ""
}

// isResourceFork tells whether an entry is what macOS adds to archives besides the files.
func isResourceFork(clean string) bool {
	first, _, _ := strings.Cut(clean, "/")
	return first == "__MACOSX"
}
