package etcdtest

import (
	"io"
	"net/url"
	"os"
	"os/exec"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/programs"
)

// Member is one server.
type Member struct {
	cluster    *Cluster
	name, data string
	// client and peer are URLs, initial names all members.
	client, peer, initial string
	auth                  bool
	// program is the server's path; "" means that of [Binary].
	program string
	// process is nil while the member does not run.
	process *programs.Process
	// extra are the flags of the last Restart.
	extra []string
}

// Endpoint returns the member's client URL.
func (m *Member) Endpoint() string { return m.client }

// Name returns the member's name.
func (m *Member) Name() string { return m.name }

// Log returns the path of the member's log.
func (m *Member) Log() string { return m.logPath() }

func (m *Member) logPath() string { return m.data + ".log" }

// start starts the process. It dies with this one, however that ends.
func (m *Member) start() error {
	path, err := m.program, error(nil)
	if path == "" {
		if path, err = binary(); err != nil {
			return err
		}
	}
	// etcd takes its flags from the environment too.
	m.process, err = programs.Start(m.logPath(), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, path, m.arguments()...)
	return err
}

func (m *Member) arguments() []string {
	o := m.cluster.options
	args := []string{
		"--name=" + m.name, "--data-dir=" + m.data, "--listen-client-urls=" + m.client, "--advertise-client-urls=" + m.client,
		"--listen-peer-urls=" + m.peer, "--initial-advertise-peer-urls=" + m.peer, "--initial-cluster=" + m.initial,
		"--initial-cluster-state=new", "--initial-cluster-token=" + m.cluster.members[0].peer, "--log-level=warn", "--logger=zap",
	}
	if !o.Durable && Supports("unsafe-no-fsync") {
		args = append(args, "--unsafe-no-fsync")
	}
	if o.TLS != nil {
		args = append(args, "--cert-file="+o.TLS.Server.Certificate, "--key-file="+o.TLS.Server.Key,
			"--client-cert-auth", "--trusted-ca-file="+o.TLS.CA)
	}
	args = append(args, o.Flags...)
	return append(args, m.extra...)
}

func (m *Member) running() bool { return m.process != nil }

func (m *Member) ended() bool { return m.process.Ended() }

func (m *Member) kill() {
	if m.process == nil {
		return
	}
	m.process.Kill()
	m.process = nil
}

// Kill ends the member at once, as a crash does.
func (m *Member) Kill() { m.kill() }

// Running tells whether the member was started and not killed since.
func (m *Member) Running() bool { return m.running() }

// Replace ends the member with SIGTERM and starts it again with another server, as [Older] returns it, or with that of
// [Binary] if the path is "". It does not wait; see [Cluster.AwaitReady].
func (m *Member) Replace(t testing.TB, program string) {
	t.Helper()
	m.mustRun(t)
	m.process.Terminate(t, startTimeout)
	m.process, m.program = nil, program
	if err := m.start(); err != nil {
		t.Fatalf("start etcd %s: %v", m.name, err)
	}
}

// Stop freezes the member: its connections stay open and nobody answers.
func (m *Member) Stop(t testing.TB) {
	t.Helper()
	m.mustRun(t)
	m.process.Stop(t)
}

// Cont ends what Stop began.
func (m *Member) Cont(t testing.TB) {
	t.Helper()
	m.mustRun(t)
	m.process.Cont(t)
}

// Proxy returns a proxy of the member, which ends with the test.
func (m *Member) Proxy(t testing.TB) *programs.Proxy {
	t.Helper()
	u, err := url.Parse(m.client)
	if err != nil {
		t.Fatal(err)
	}
	return programs.NewProxy(t, u.Host)
}

func (m *Member) mustRun(t testing.TB) {
	t.Helper()
	if m.process == nil {
		t.Fatalf("etcd %s does not run", m.name)
	}
}

// Restart starts the member again, with further flags for this time, after killing it if it runs. It does not wait;
// see [Cluster.AwaitReady].
func (m *Member) Restart(t testing.TB, flags ...string) {
	t.Helper()
	m.kill()
	m.extra = flags
	if err := m.start(); err != nil {
		t.Fatalf("start etcd %s: %v", m.name, err)
	}
}

// Wipe removes the data of a member that does not run.
func (m *Member) Wipe(t testing.TB) {
	t.Helper()
	m.mustNotRun(t)
	if err := os.RemoveAll(m.data); err != nil {
		t.Fatal(err)
	}
}

// CopyData returns the path of a copy of the data of a member that does not run.
func (m *Member) CopyData(t testing.TB) string {
	t.Helper()
	m.mustNotRun(t)
	to := t.TempDir() + "/data"
	if err := os.CopyFS(to, os.DirFS(m.data)); err != nil {
		t.Fatal(err)
	}
	return to
}

// PutBack replaces the data of a member that does not run by a copy.
func (m *Member) PutBack(t testing.TB, from string) {
	t.Helper()
	m.Wipe(t)
	if err := os.CopyFS(m.data, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	// etcd refuses a folder that others may read.
	if err := os.Chmod(m.data, 0o700); err != nil {
		t.Fatal(err)
	}
}

// Snapshot returns the path of a snapshot, made as etcdctl does.
func (m *Member) Snapshot(t testing.TB) string {
	t.Helper()
	client, err := m.cluster.open(m.client)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := t.TempDir() + "/snapshot.db"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		t.Fatal(err)
	}
	return path
}

// RestoreSnapshot replaces the data of a member that does not run by a snapshot. The test is skipped with a foreign
// server: the tool that restores is of the built one's version.
func (m *Member) RestoreSnapshot(t testing.TB, path string) {
	t.Helper()
	if Foreign() {
		t.Skip("snapshots are restored by the tool of another version than the server")
	}
	m.Wipe(t)
	program, err := tool()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "snapshot", "restore", path, "--data-dir="+m.data, "--name="+m.name, "--initial-cluster="+m.initial,
		"--initial-advertise-peer-urls="+m.peer, "--initial-cluster-token="+m.cluster.members[0].peer).CombinedOutput()
	if err != nil {
		t.Fatalf("restore the snapshot: %v\n%s", err, out)
	}
}

func (m *Member) mustNotRun(t testing.TB) {
	t.Helper()
	if m.running() {
		t.Fatalf("etcd %s runs", m.name)
	}
}

// lastLog returns the last lines of the member's log.
func (m *Member) lastLog(lines int) string { return programs.LastLog(m.logPath(), lines) }

// Client returns a client of this member alone, which the caller closes.
func (m *Member) Client() (*clientv3.Client, error) { return m.cluster.open(m.client) }
