package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// shards is into how many files a list is divided: one site more among 10,000 rewrites a file of 160 lines.
const shards = 64

// list is lines that stand in files of a configuration, each under a key of its own. A file's name has the hash of its
// content, so that files never change: a new one takes the place of the old one, and who has the old configuration
// has the old files, until the new one is in its place.
type list struct {
	name string // of the files, at their beginning
	part []shard
	n    int
}

type shard struct {
	lines map[string]string
	file  string // "" if it must be written, or there are no lines
}

func newList(name string) *list { return &list{name: name, part: make([]shard, shards)} }

// newSmallList is for a list with a line for a class and not for a site. It has one file.
func newSmallList(name string) *list { return &list{name: name, part: make([]shard, 1)} }

func (l *list) number(key string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return h.Sum32() % uint32(len(l.part))
}

func (l *list) shard(key string) *shard { return &l.part[l.number(key)] }

// index is the number of a key's file, as it stands in the file's name.
func (l *list) index(key string) string { return hex.EncodeToString([]byte{byte(l.number(key))}) }

// set puts a line, which ends with a line break, under a key.
func (l *list) set(key, line string) {
	s := l.shard(key)
	old, ok := s.lines[key]
	if ok && old == line {
		return
	}
	if !ok {
		l.n++
	}
	if s.lines == nil {
		s.lines = map[string]string{}
	}
	s.lines[key], s.file = line, ""
}

func (l *list) remove(key string) {
	s := l.shard(key)
	if _, ok := s.lines[key]; ok {
		delete(s.lines, key)
		s.file = ""
		l.n--
	}
}

// files returns the files that hold the list, writing those that are not there yet.
func (l *list) files(write func(name string, content []byte) error) ([]string, error) {
	var files []string
	for i := range l.part {
		s := &l.part[i]
		if len(s.lines) == 0 {
			continue
		}
		if s.file == "" {
			var b strings.Builder
			for _, key := range slices.Sorted(maps.Keys(s.lines)) {
				b.WriteString(s.lines[key])
			}
			content := []byte(b.String())
			sum := sha256.Sum256(content)
			name := l.name + "-" + hex.EncodeToString([]byte{byte(i)}) + "-" + hex.EncodeToString(sum[:10]) + ".conf"
			if err := write(name, content); err != nil {
				return nil, err
			}
			s.file = name
		}
		files = append(files, s.file)
	}
	return files, nil
}

// forgetFiles has all files written again: somebody may have removed them.
func (l *list) forgetFiles() {
	for i := range l.part {
		l.part[i].file = ""
	}
}

// owner returns the key whose line has this number in a file of the list; "" if the file is none of it.
func (l *list) owner(file string, number int) string {
	for i := range l.part {
		s := &l.part[i]
		if s.file == "" || s.file != filepath.Base(file) {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(s.lines)) {
			number -= strings.Count(s.lines[key], "\n")
			if number <= 0 {
				return key
			}
		}
	}
	return ""
}
