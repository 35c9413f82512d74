package bundle

import (
	"bytes"
	"fmt"
	"strings"
)

// Types returns the archive types that a bundle can have, long forms first. The short forms mean the same.
func Types() []string {
	return []string{
		"zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tar.lz4", "tar.sz", "rar",
		"tgz", "tbz2", "txz", "tzst", "tlz4", "tsz",
	}
}

// CheckType returns an error that names the known types unless t is one of [Types].
func CheckType(t string) error {
	for _, known := range Types() {
		if t == known {
			return nil
		}
	}
	return fmt.Errorf("%q is not a type of archive; known ones are %s", t, strings.Join(Types(), ", "))
}

// TypeOfFile tells the archive type from a file's name; false if its ending says nothing. Letter case does not
// matter. It works for names of any length.
func TypeOfFile(filename string) (string, bool) {
	lower := strings.ToLower(filename)
	for _, t := range Types() {
		stem, ok := strings.CutSuffix(lower, "."+t)
		if ok && stem != "" && !strings.HasSuffix(stem, "/") {
			return t, true
		}
	}
	return "", false
}

// longType returns the long form of a type.
func longType(t string) string {
	switch t {
	case "tgz":
		return "tar.gz"
	case "tbz2":
		return "tar.bz2"
	case "txz":
		return "tar.xz"
	case "tzst":
		return "tar.zst"
	case "tlz4":
		return "tar.lz4"
	case "tsz":
		return "tar.sz"
	}
	return t
}

// sniffLen is how many bytes sniff wants to see: the magic number of tar ends at 262.
const sniffLen = 512

// sniff tells from a file's first bytes what it looks like, in the long form of the types; "" if it looks like
// nothing known. What is inside of a compressed file is not looked at: gzip is "tar.gz".
func sniff(head []byte) string {
	magics := []struct{ magic, typ string }{
		{"PK\x03\x04", "zip"},
		{"PK\x05\x06", "zip"},
		{"\x1f\x8b", "tar.gz"},
		{"BZh", "tar.bz2"},
		{"\xfd7zXZ\x00", "tar.xz"},
		{"\x28\xb5\x2f\xfd", "tar.zst"},
		{"\x04\x22\x4d\x18", "tar.lz4"},
		{"\xff\x06\x00\x00sNaPpY", "tar.sz"},
		{"Rar!\x1a\x07", "rar"},
		{"7z\xbc\xaf\x27\x1c", "7z"},
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.typ
		}
	}
	if len(head) >= 262 && string(head[257:262]) == "ustar" {
		return "tar"
	}
	return ""
}
