package nginx

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// An earlier process of this folder left its files and, with a managed nginx, its configuration. All of it stays until
// a configuration of this process is in force: a start that changes nothing needs no space on the disk then, and if
// there is none for what changed, nginx is started with what was served before.

// adopt takes up the files that an earlier process left. What it wrote for other workers is given to those of now.
func (s *Server) adopt() error {
	parts, err := os.ReadDir(s.paths.store)
	if err != nil {
		return err
	}
	for _, e := range parts {
		s.stored[e.Name()] = true
	}
	classes, err := os.ReadDir(s.paths.roots)
	if err != nil {
		return err
	}
	for _, e := range classes {
		if !e.IsDir() {
			continue // it is removed with the other leftovers
		}
		if err := s.open(filepath.Join(s.paths.roots, e.Name())); err != nil {
			return err
		}
	}
	// nginx makes the folders for its temporary files itself, for which there may be no space.
	return filepath.WalkDir(s.paths.temp, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Remove(path)
	})
}

// keep notes the configuration that an earlier process left, if nginx can be started with it for this process: it has
// the listeners, the user and the node behind it in common with what this process would write. The first configuration
// of this process has the same revision, so that it is the same text if nothing changed.
func (s *Server) keep() {
	b, err := os.ReadFile(s.paths.conf)
	if err != nil {
		return // the first start, most often
	}
	text := string(b)
	first, _, _ := strings.Cut(text, "\n")
	_, number, _ := strings.Cut(first, revisionMark)
	revision, err := strconv.ParseUint(number, 10, 64)
	if err != nil || revision == 0 {
		return
	}
	f := &s.fixed
	common := []string{"\n\t\tserver unix:" + f.Socket + ";\n", "\n\t\t" + f.CheckHost + " " + f.CheckPair + ";\n"}
	if f.User != "" {
		common = append(common, "\nuser "+f.User+";\n")
	}
	for _, l := range f.Plain {
		common = append(common, "\n\t\tlisten "+l.Address+" default_server"+l.Once+";\n")
	}
	for _, l := range f.Secure {
		common = append(common, "\n\t\tlisten "+l.Address+" default_server ssl"+f.SecureOptions+l.Once+";\n")
	}
	for _, line := range common {
		if !strings.Contains(text, line) {
			return
		}
	}
	s.kept, s.revision = text, revision-1
}

// revisionMark stands before the revision in the first line of a configuration.
const revisionMark = " Revision "

// startWith has nginx start with what is there, as no configuration of this process could be put in its place: with
// that of an earlier process if nginx takes it, and else with one of no sites. s.applying is held.
func (s *Server) startWith(ctx context.Context, m *managed) {
	if s.kept != "" {
		err := m.test(ctx, s.paths.conf)
		if err == nil {
			if !s.resumed {
				s.resumed = true
				s.revision++
			}
			s.log.Warn("nginx serves as before the start of the node until it can be given what changed")
			return
		}
		s.log.Error("nginx does not take the configuration of before the start of the node", zap.Error(err))
		s.kept = ""
	}
	s.blank()
}

// blank puts the first configuration in its place, untested: nginx's own test of it would say the same as its start,
// which is tried again and again, and so is this, see repair.
func (s *Server) blank() {
	text, err := s.render()
	if err == nil {
		s.inForce = text
		s.revision++
		err = s.write(s.paths.conf, []byte(text))
	}
	if err != nil {
		s.log.Error("the configuration of nginx cannot be written", zap.Error(err))
	}
	s.discardLeftovers()
}

// took notes that a configuration is in force, and what is needed no more.
func (s *Server) took(text string) {
	first := s.inForce == ""
	s.inForce, s.kept = text, ""
	s.revision++
	s.removeParts()
	if first {
		s.discardLeftovers()
	}
}

// removeParts removes the parts of earlier configurations. Nobody reads them any more: workers have theirs in memory.
func (s *Server) removeParts() {
	used := map[string]bool{}
	for _, l := range s.model.lists() {
		for i := range l.part {
			used[l.part[i].file] = true
		}
	}
	for name := range s.stored {
		if !used[name] {
			delete(s.stored, name)
			_ = os.RemoveAll(filepath.Join(s.paths.store, name)) // what cannot be removed is in nobody's way
		}
	}
}

// discardLeftovers discards what an earlier process left and nothing needs.
func (s *Server) discardLeftovers() {
	for _, pattern := range []string{
		filepath.Join(s.paths.pairs, "*"), filepath.Join(s.paths.roots, "*", "*"), filepath.Join(s.paths.roots, "*"), s.dhFile("*"),
	} {
		found, _ := filepath.Glob(pattern) // its only error is for bad patterns, and checkDir refuses such folders
		for _, path := range found {
			if !s.needs(path) {
				s.discard(path)
			}
		}
	}
}

// needs tells whether a file is part of what is in force, or is about to be.
func (s *Server) needs(path string) bool {
	switch path {
	case s.dh, s.pairFile(s.nodePair), s.pairFile(s.fixed.CheckPair):
		return true
	}
	return s.model.needs(s.paths, path)
}
