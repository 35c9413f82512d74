package nginx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// engine is how an nginx is driven.
type engine interface {
	// install tests the text of a configuration and puts it in its place. On an error the old one is there. The error
	// is a *configError if it is nginx that refuses the text.
	install(ctx context.Context, text string) error
	// try tells whether nginx takes a text, and changes nothing.
	try(ctx context.Context, text string) error
	// reload has nginx read its configuration.
	reload(ctx context.Context) error
	// fresh tells whether all workers that accept connections have been started since reload, or after how long time
	// that is certain.
	fresh(since time.Time) bool
	// address is where HTTPS is served.
	address() string
	// fault is what nginx last complained of.
	fault() string
}

// configError is nginx's own word on a configuration.
type configError struct {
	message string
	// file and line are where; "" and 0 if it does not say.
	file string
	line int
}

func (e *configError) Error() string {
	text := e.message
	if len(text) > maxReason { // it repeats whole patterns
		text = strings.ToValidUTF8(text[:maxReason], "") + " …"
	}
	return "nginx refuses the configuration: " + text
}

const maxReason = 300 // bytes

// managed is an nginx that is a child of this process.
type managed struct {
	s       *Server
	program program
	// files are the listeners for nginx, and env tells it so.
	files []*os.File
	env   []string
	https string

	mu   sync.Mutex
	cmd  *exec.Cmd
	old  map[int]bool // workers before the last reload
	last string       // complaint
}

func (s *Server) newManaged() error {
	path := s.opt.Program
	if path == "" {
		var err error
		if path, err = Find(); err != nil {
			return err
		}
	}
	p, err := inspect(path)
	if err != nil {
		return err
	}
	if len(s.opt.HTTPS) == 0 || len(s.opt.HTTP) == 0 {
		return errors.New("nginx: there is no listener for HTTP, or none for HTTPS")
	}
	m := &managed{s: s, program: p, https: dialable(s.opt.HTTPS[0].Addr().String())}
	inherit := "NGINX="
	for _, l := range append(s.opt.HTTP[:len(s.opt.HTTP):len(s.opt.HTTP)], s.opt.HTTPS...) {
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return fmt.Errorf("nginx: %s is no TCP listener", l.Addr())
		}
		f, err := socketFile(tcp)
		if err != nil {
			return fmt.Errorf("nginx: listener %s: %w", l.Addr(), err)
		}
		inherit += fmt.Sprintf("%d;", 3+len(m.files))
		m.files = append(m.files, f)
	}
	m.env = append(os.Environ(), inherit)
	s.eng = m
	return nil
}

// socketFile returns a duplicate of a listener's socket that stays non-blocking when a process inherits it. That of
// [net.TCPListener.File] would be set to block then, and with it the socket itself: of two workers that nginx wakes for
// one connection, the second would wait in accept for ever.
func socketFile(l *net.TCPListener) (*os.File, error) {
	c, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	var f *os.File
	var dupErr error
	err = c.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		var n int
		if n, dupErr = syscall.Dup(int(fd)); dupErr == nil {
			syscall.CloseOnExec(n)
			// As the descriptor does not block already, Fd leaves it so.
			f = os.NewFile(uintptr(n), l.Addr().String())
		}
	})
	return f, errors.Join(err, dupErr)
}

func (m *managed) close() {
	for _, f := range m.files {
		_ = f.Close() // a duplicate of a listener that is closed as well
	}
}

func (m *managed) address() string { return m.https }

// command runs nginx with a configuration.
func (m *managed) command(conf string, args ...string) *exec.Cmd {
	args = append(args, "-p", m.s.paths.dir+"/", "-c", conf)
	if m.program.version.atLeast(1, 19, 5) {
		args = append(args, "-e", "stderr")
	}
	cmd := exec.Command(m.program.path, args...)
	cmd.Env, cmd.ExtraFiles, cmd.Dir = m.env, m.files, m.s.paths.dir
	return cmd
}

func (m *managed) try(ctx context.Context, text string) error {
	s := m.s
	if err := s.write(s.paths.next, []byte(text)); err != nil {
		return err
	}
	return m.test(ctx, s.paths.next)
}

// test has nginx test a file.
func (m *managed) test(ctx context.Context, conf string) error {
	_, err := run(ctx, m.s.opt.Timeouts.Command, m.command(conf, "-t", "-q"), "nginx -t")
	return refusal(err)
}

// refusal makes an error of nginx -t say what it means.
func refusal(err error) error {
	var failed *commandError
	if !errors.As(err, &failed) || failed.code() != 1 {
		return err
	}
	if e := parseComplaint(failed.stderr); e != nil {
		return e
	}
	return err
}

func (m *managed) install(ctx context.Context, text string) error {
	if m.s.holds(m.s.paths.conf, []byte(text)) {
		return m.test(ctx, m.s.paths.conf)
	}
	if err := m.try(ctx, text); err != nil {
		return err
	}
	return os.Rename(m.s.paths.next, m.s.paths.conf)
}

func (m *managed) reload(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return errors.New("nginx does not run")
	}
	m.old = map[int]bool{}
	for pid := range workers(m.cmd.Process.Pid) {
		m.old[pid] = true
	}
	m.last = ""
	return m.cmd.Process.Signal(syscall.SIGHUP)
}

func (m *managed) fresh(since time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return false
	}
	now := workers(m.cmd.Process.Pid)
	if len(now) == 0 {
		return time.Since(since) > blindWait // there is no /proc to look into
	}
	fresh := false
	for pid, w := range now {
		if m.old[pid] && !w.leaving {
			return false
		}
		fresh = fresh || !m.old[pid]
	}
	return fresh
}

// blindWait is after how long old workers have stopped to accept: nginx tells them 100 ms after new ones are there.
const blindWait = 400 * time.Millisecond

func (m *managed) fault() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// supervise runs nginx again and again until ctx ends.
func (m *managed) supervise(ctx context.Context) {
	const first, longest, healthy = 100 * time.Millisecond, 10 * time.Second, 30 * time.Second
	pause := first
	m.s.begin(ctx, m)
	for ctx.Err() == nil {
		began := time.Now()
		err := m.s.ready(ctx, m, pause > first)
		if err == nil {
			err = m.once(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > healthy {
			pause = first
		}
		m.s.setStatus(fmt.Errorf("%w; it is started again", err))
		m.s.log.Error("nginx does not run", zap.Error(err), zap.Duration("startedAgainIn", pause))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// once starts nginx and waits for its end, or has it end when ctx does.
func (m *managed) once(ctx context.Context) error {
	if err := m.s.paths.discardPID(); err != nil {
		m.s.log.Warn("nginx writes its process id to the disk, and does not start on one that is full", zap.Error(err))
	}
	cmd := m.command(m.s.paths.conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stderr = w
	err = cmd.Start()
	_ = w.Close() // nginx has it now
	if err != nil {
		_ = r.Close()
		return fmt.Errorf("start nginx: %w", err)
	}
	m.mu.Lock()
	m.cmd, m.old, m.last = cmd, nil, ""
	m.mu.Unlock()
	read := make(chan struct{})
	go func() { defer close(read); m.listenTo(r) }()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	alive, dead := context.WithCancel(ctx)
	defer dead()
	up := make(chan struct{})
	go func() { defer close(up); m.awaitUp(alive) }()

	pid := cmd.Process.Pid
	select {
	case err = <-ended:
	case <-ctx.Done():
		m.s.setStatus(errors.New("stopped"))
		err = m.end(pid, ended)
	}
	dead()
	<-up
	m.mu.Lock()
	m.cmd = nil
	m.mu.Unlock()
	// Workers whose master was killed would go on, with a configuration that nobody changes any more.
	endGroup(pid, m.s.opt.Timeouts.Shutdown)
	// A worker may hold the pipe for as long as it lives; closing our end stops the reader.
	_ = r.SetReadDeadline(time.Now())
	_ = r.Close()
	<-read
	if err == nil {
		err = errors.New("exit status 0")
	}
	if fault := m.fault(); fault != "" {
		return fmt.Errorf("nginx ended (%w): %s", err, fault)
	}
	return fmt.Errorf("nginx ended (%w)", err)
}

// end has nginx finish the requests in flight, for a bounded time.
func (m *managed) end(pid int, ended <-chan error) error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGQUIT, m.s.opt.Timeouts.Shutdown}, {syscall.SIGTERM, 2 * time.Second}, {syscall.SIGKILL, time.Minute}} {
		_ = syscall.Kill(pid, step.signal) // it has ended otherwise
		select {
		case err := <-ended:
			return err
		case <-time.After(step.wait):
		}
	}
	return errors.New("nginx cannot be killed")
}

// awaitUp notes that nginx serves as soon as it answers.
func (m *managed) awaitUp(ctx context.Context) {
	for ctx.Err() == nil {
		got, err := m.s.prober.ask(ctx, m.https, m.s.prober.host)
		if err == nil && got.revision != "" {
			m.s.setStatus(nil)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hanging returns the workers of old configurations that should have ended long ago.
func (m *managed) hanging(now time.Time, seen map[int]time.Time) []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var long []int
	current := map[int]worker{}
	if m.cmd != nil {
		current = workers(m.cmd.Process.Pid)
	}
	for pid := range seen {
		if !current[pid].leaving {
			delete(seen, pid)
		}
	}
	for pid, w := range current {
		if !w.leaving {
			continue
		}
		if _, ok := seen[pid]; !ok {
			seen[pid] = now
		}
		if now.Sub(seen[pid]) > m.s.opt.Timeouts.Worker+time.Minute {
			long = append(long, pid)
		}
	}
	return long
}

// trimComplaint takes the time and the process out of a line of nginx's log.
func trimComplaint(line string) (level, text string) {
	_, rest, ok := strings.Cut(line, "[")
	if !ok {
		return "", line
	}
	level, text, ok = strings.Cut(rest, "] ")
	if !ok {
		return "", line
	}
	if pid, after, ok := strings.Cut(text, ": "); ok && strings.Contains(pid, "#") {
		text = after
	}
	return level, text
}
