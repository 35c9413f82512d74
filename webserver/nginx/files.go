package nginx

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"statiko/webserver/builtin"
)

// paths are those below Options.Dir.
type paths struct {
	dir string
	// conf is the configuration in force in managed mode, next the one that is being tried.
	conf, next string
	// store has the parts of configurations, which never change.
	store string
	// check has the pair by which nginx is asked which configuration it uses.
	check string
	// pairs has certificates with their keys, one file each, named by a hash of both.
	pairs string
	// roots has a folder for each class with a link for each site, to its bundle.
	roots string
	// welcome is laid out as a bundle; it is what sites without one serve.
	welcome string
	pid     string
	socket  string
	temp    string
}

func newPaths(dir string) paths {
	in := func(name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }
	return paths{
		dir: dir, conf: in("nginx.conf"), next: in("next.conf"), check: in("check.pem"), store: in("store"), pairs: in("pairs"), roots: in("roots"),
		welcome: in("welcome"), pid: in("run", "nginx.pid"), socket: in("run", "node.sock"), temp: in("temp"),
	}
}

// owner is as whom the workers run.
type owner struct {
	// user and group are names; "" if the workers run as whoever runs this process.
	user, group string
	uid, gid    int
}

// findOwner looks the user up. Only root can have workers run as somebody else.
func findOwner(name string) (owner, error) {
	if os.Geteuid() != 0 || name == "" {
		return owner{uid: -1, gid: -1}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return owner{}, fmt.Errorf("the user of nginx's workers (key nginx.user): %w", err)
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return owner{}, fmt.Errorf("the group of nginx's workers (key nginx.user): %w", err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return owner{}, fmt.Errorf("the user of nginx's workers (key nginx.user): %w", err)
	}
	return owner{user: u.Username, group: g.Name, uid: uid, gid: gid}, nil
}

// discardPID has nginx write its process id to nowhere: nobody reads it, and nginx does not start if it cannot write it, as on a
// disk that is full. At its end nginx takes the link away. What is in the way is an earlier version's file.
func (p paths) discardPID() error {
	err := os.Symlink(os.DevNull, p.pid)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if target, err := os.Readlink(p.pid); err == nil && target == os.DevNull {
		return nil
	}
	if err := os.Remove(p.pid); err != nil {
		return err
	}
	return os.Symlink(os.DevNull, p.pid)
}

// makeFolders makes all folders, also after somebody removed them; then with what has to be in them. Workers may look
// into them, others not. s.applying is held.
func (s *Server) makeFolders() error {
	p := s.paths
	lost := false
	for _, dir := range []string{p.dir, p.store, p.pairs, p.roots, p.welcome, filepath.Join(p.welcome, "files"), filepath.Dir(p.pid), p.temp} {
		if err := os.Mkdir(dir, 0o750); err == nil {
			lost = true
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", dir)
		}
		if err := s.open(dir); err != nil {
			return err
		}
	}
	if !lost {
		return nil
	}
	return s.refill()
}

// open lets the workers look into a folder.
func (s *Server) open(dir string) error {
	if err := os.Chmod(dir, 0o750); err != nil {
		return err
	}
	if s.owner.gid < 0 {
		return nil
	}
	return os.Chown(dir, -1, s.owner.gid)
}

// refill writes again all that sites need.
func (s *Server) refill() error {
	for _, l := range s.model.lists() {
		l.forgetFiles()
	}
	if err := s.writePages(); err != nil {
		return err
	}
	for domain, e := range s.model.sites {
		if err := s.writeOnce(s.pairFile(e.pair), joinPair(e.site.Certificate)); err != nil {
			return err
		}
		if err := s.link(s.target(e.site), s.linkOf(domain, e.class)); err != nil {
			return err
		}
	}
	return nil
}

// writePages writes what sites without a bundle serve.
func (s *Server) writePages() error {
	pages, err := builtin.Pages()
	if err != nil {
		return err
	}
	for name, content := range pages.Welcome {
		if err := s.writeOnce(filepath.Join(s.paths.welcome, "files", name), content); err != nil {
			return err
		}
	}
	return nil
}

// write puts a file in its place whole, readable by this user and the workers. Nothing is synced to disk: after a crash
// of the machine writeOnce finds what is torn.
func (s *Server) write(path string, content []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o640)
	}
	if err == nil && s.owner.gid >= 0 {
		err = f.Chown(-1, s.owner.gid)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, removeFile(tmp))
	}
	return nil
}

// writeOnce is write for a file that may be there already, which then needs no space.
func (s *Server) writeOnce(path string, content []byte) error {
	if s.holds(path, content) {
		return nil
	}
	return s.write(path, content)
}

// holds tells whether a file is as write would leave it.
func (s *Server) holds(path string, content []byte) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o640 || info.Size() != int64(len(content)) {
		return false
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && (int(stat.Uid) != os.Geteuid() || s.owner.gid >= 0 && int(stat.Gid) != s.owner.gid) {
		return false
	}
	old, err := os.ReadFile(path)
	return err == nil && bytes.Equal(old, content)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// link makes or replaces a symbolic link in one step.
func (s *Server) link(target, path string) error {
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	dir := filepath.Dir(path)
	tmp := filepath.Join(dir, ".next")
	if err := removeFile(tmp); err != nil {
		return err
	}
	err := os.Symlink(target, tmp)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(dir, 0o750); err != nil {
			return err
		}
		if err := s.open(dir); err != nil {
			return err
		}
		err = os.Symlink(target, tmp)
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// trashed is a file that nothing needs any more but workers of an old configuration.
type trashed struct {
	path string
	when time.Time
}

// keepTrash is for how long such files stay: requests that old workers are about to begin are over by then.
const keepTrash = 2 * time.Minute

// discard has a file removed that is not needed, in a while. As long as no configuration of this process is in its place,
// nothing is: that of an earlier one may need it, and discardLeftovers finds it afterwards.
func (s *Server) discard(path string) {
	if s.inForce != "" {
		s.trash = append(s.trash, trashed{path, time.Now()})
	}
}

// sweep removes what was discarded long enough ago and is not needed again. s.applying is held.
func (s *Server) sweep(now time.Time) {
	kept := s.trash[:0]
	for _, t := range s.trash {
		switch {
		case s.needs(t.path):
		case now.Sub(t.when) < keepTrash:
			kept = append(kept, t)
		default:
			// What cannot be removed is in nobody's way.
			_ = os.Remove(t.path)
			if dir := filepath.Dir(t.path); filepath.Dir(dir) == s.paths.roots {
				_ = os.Remove(dir) // the folder of a class, if this was its last link
			}
		}
	}
	s.trash = kept
}
