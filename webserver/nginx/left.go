package nginx

import (
	"context"
	"errors"
	"fmt"
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

// keep notes the configuration that an earlier process left. That of a managed nginx counts only if nginx can be started
// with it for this process: it has the listeners, the user and the node behind it in common with what this process would
// write. The first configuration of this process has the same revision, so that it is the same text if nothing changed.
func (s *Server) keep() {
	if x, ok := s.eng.(*external); ok {
		if b, err := os.ReadFile(x.conf); err == nil {
			s.kept = string(b)
		}
		return
	}
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
	s.kept, s.keptRevision, s.revision = text, revision, revision-1
}

// revisionMark stands before the revision in the first line of a configuration.
const revisionMark = " Revision "

// ready sees that what nginx is started with is in its place: the configuration in force, else that of an earlier process,
// else one of no sites. On an error there is none, and nginx must not be started. again tells that nginx ended, so that
// somebody may have changed what it needs.
func (s *Server) ready(ctx context.Context, m *managed, again bool) error {
	if !again && s.startable.Load() {
		return nil
	}
	if !s.applying.TryLock() {
		if s.startable.Load() {
			return nil
		}
		return errors.New("nginx has no configuration yet")
	}
	defer s.applying.Unlock()
	if err := s.makeFolders(); err != nil {
		return fmt.Errorf("the folder for nginx: %w", err)
	}
	if s.inForce == "" {
		return s.resume(ctx, m)
	}
	if err := s.repair(); err != nil {
		s.log.Error("the configuration of nginx cannot be written again", zap.Error(err))
	}
	return nil
}

// resume puts what an earlier process left in the place of the configuration that this process could not put there, or one
// of no sites if nginx refuses that. s.applying is held.
func (s *Server) resume(ctx context.Context, m *managed) error {
	if s.kept == "" {
		return s.blank()
	}
	if err := s.writeOnce(s.paths.conf, []byte(s.kept)); err != nil {
		return fmt.Errorf("write nginx's configuration: %w", err)
	}
	err := m.test(ctx, s.paths.conf)
	var refusal *configError
	if errors.As(err, &refusal) {
		s.log.Error("nginx does not take the configuration of before the start of the node", zap.Error(err))
		s.kept = ""
		return s.blank()
	}
	if err != nil {
		s.log.Warn("the configuration of before the start of the node cannot be tested", zap.Error(err))
	}
	s.log.Warn("nginx serves as before the start of the node until it can be given what changed")
	s.resumed = true
	s.revision = max(s.revision, s.keptRevision)
	s.startable.Store(true)
	return nil
}

// blank puts a configuration of no sites in its place, untested: nginx's own test of it would say the same as its start,
// which is tried again and again. s.applying is held.
func (s *Server) blank() error {
	s.pending()
	text, err := s.render()
	if err == nil {
		err = s.write(s.paths.conf, []byte(text))
	}
	if err != nil {
		return fmt.Errorf("write nginx's configuration: %w", err)
	}
	s.took(text)
	return nil
}

// repair writes the configuration in force again, with all that it needs, before a nginx that ended is started: somebody
// may have changed it. s.applying is held.
func (s *Server) repair() error {
	changed := s.pending()
	if err := s.refill(); err != nil {
		return err
	}
	text, err := s.render() // with its parts
	if err != nil {
		return err
	}
	if changed { // nginx does not run, so that nothing must be seen to take effect
		s.took(text)
	}
	return s.writeOnce(s.paths.conf, []byte(s.inForce))
}

// continues tells whether what the model asks for is what nginx was started with, as an earlier process left it.
func (s *Server) continues(ctx context.Context) bool {
	if !s.resumed || s.kept == "" {
		return false
	}
	revision := s.revision
	defer func() { s.revision = revision }()
	s.revision = s.keptRevision - 1
	text, err := s.render()
	if err != nil || text != s.kept || !s.holds(s.paths.conf, []byte(text)) {
		return false
	}
	got, err := s.prober.ask(ctx, s.eng.address(), s.prober.host)
	return err == nil && got.revision == s.nextRevision()
}

// took notes that a configuration is in its place, and what is needed no more.
func (s *Server) took(text string) {
	first := s.inForce == ""
	s.inForce, s.kept = text, ""
	s.startable.Store(true)
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
