package nginx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// external is an nginx that something else runs, driven by commands.
type external struct {
	s *Server
	// conf is the one file of nginx's own configuration that is ours.
	conf string

	mu   sync.Mutex
	last string
}

func (s *Server) newExternal() error {
	c := s.opt.Commands
	for name, command := range map[string]string{"start": c.Start, "restart": c.Reload, "status": c.Status, "test": c.Test} {
		if strings.TrimSpace(command) == "" {
			return fmt.Errorf("nginx: there is no command for %s (key nginx.commands.%s)", name, name)
		}
	}
	if !filepath.IsAbs(s.opt.ConfigPath) {
		return fmt.Errorf("nginx's configuration %q (key nginx.configPath): not an absolute path", s.opt.ConfigPath)
	}
	s.eng = &external{s: s, conf: filepath.Join(s.opt.ConfigPath, "conf.d", "statiko.conf")}
	return nil
}

func (x *external) address() string { return dialable(x.s.opt.HTTPSAddress) }

// shell runs one of the configured commands.
func (x *external) shell(ctx context.Context, command, key string) (output, error) {
	return run(ctx, x.s.opt.Timeouts.Command, exec.Command("/bin/sh", "-c", command), "the command nginx.commands."+key)
}

// swap puts a text in the place of our file and returns what was there; nil for nothing. nginx's folder conf.d is made if
// it is missing, and nothing else of it touched.
func (x *external) swap(text []byte) (old []byte, err error) {
	old, err = os.ReadFile(x.conf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if text == nil {
		return old, removeFile(x.conf)
	}
	if err := os.Mkdir(filepath.Dir(x.conf), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// nginx reads *.conf there: the name of the file that is being written is another.
	return old, x.s.write(x.conf, text)
}

func (x *external) install(ctx context.Context, text string) error {
	old, err := x.swap([]byte(text))
	if err != nil {
		return err
	}
	if err := x.test(ctx); err != nil {
		_, back := x.swap(old)
		return errors.Join(err, back)
	}
	return nil
}

func (x *external) try(ctx context.Context, text string) error {
	old, err := x.swap([]byte(text))
	if err != nil {
		return err
	}
	err = x.test(ctx)
	_, back := x.swap(old)
	return errors.Join(err, back)
}

// test runs the configured test: it is passed with exit code 0 and nothing on standard output.
func (x *external) test(ctx context.Context) error {
	out, err := x.shell(ctx, x.s.opt.Commands.Test, "test")
	if err == nil && strings.TrimSpace(out.stdout) != "" {
		err = &commandError{what: "the command nginx.commands.test", err: errors.New("has something to say"), output: out}
	}
	return refusal(err)
}

func (x *external) reload(ctx context.Context) error {
	_, err := x.shell(ctx, x.s.opt.Commands.Reload, "restart")
	return err
}

func (x *external) fresh(since time.Time) bool { return time.Since(since) > blindWait }

func (x *external) fault() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// watch starts nginx whenever it does not run, until ctx ends.
func (x *external) watch(ctx context.Context) {
	pause := x.s.opt.Timeouts.Watch
	for ctx.Err() == nil {
		err := x.look(ctx)
		if ctx.Err() != nil {
			return
		}
		x.mu.Lock()
		x.last = ""
		if err != nil {
			x.last = err.Error()
		}
		x.mu.Unlock()
		if err != nil {
			x.s.log.Warn("nginx does not serve", zap.Error(err))
		}
		x.s.setStatus(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// look asks whether nginx runs, and has it started if not.
func (x *external) look(ctx context.Context) error {
	up, err := x.up(ctx)
	if err != nil || up {
		return err
	}
	if _, err := x.shell(ctx, x.s.opt.Commands.Start, "start"); err != nil {
		return err
	}
	for deadline := time.Now().Add(x.s.opt.Timeouts.Watch); ; {
		if up, err = x.up(ctx); err != nil || up {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("nginx does not run, although it was started")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (x *external) up(ctx context.Context) (bool, error) {
	out, err := x.shell(ctx, x.s.opt.Commands.Status, "status")
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(out.stdout) == "1", nil
}

// addresses are what an address of the configuration is for nginx: without a host, one for each family.
func addresses(address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	if host != "" {
		return []string{net.JoinHostPort(host, port)}, nil
	}
	all := []string{port}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		_ = l.Close()
		all = append(all, "[::]:"+port)
	}
	return all, nil
}
