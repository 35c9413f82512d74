package leader

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statiko/etcdclient"
	"statiko/state"
)

// Variables that make this test binary a node in a process of its own.
const (
	childName      = "STATIKO_TEST_CHILD"
	childEndpoints = "STATIKO_TEST_ENDPOINTS"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childName); name != "" {
		os.Exit(child(name, strings.Split(os.Getenv(childEndpoints), ",")))
	}
	// The tests wait most of the time, each with an etcd of its own.
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// child takes part until SIGTERM. It says on its standard output what happens: "leads <term>", "over <term>" at the
// end of a term's context and "refused <term>" when etcd has refused a write of it.
func child(name string, endpoints []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := etcdclient.Open(etcdclient.Options{Endpoints: endpoints, Timeout: 3 * time.Second})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	defer c.Close()
	sessions := etcdclient.NewSessions(c, etcdclient.SessionOptions{TTL: testTTL})
	e, err := NewEtcd(Options{Client: c, Sessions: sessions, Prefix: testPrefix, NodeName: name, InstanceID: name})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	n := &node{name: name, client: c, terms: make(chan *ran, 1)}
	var done sync.WaitGroup
	done.Go(func() { _ = sessions.Run(ctx) })
	err = e.Run(ctx, map[string]Duty{
		"work": n.work,
		"say": func(ctx context.Context, _ state.Fence) error {
			r := <-n.terms
			fmt.Println("leads", r.created())
			n.late.Go(func() {
				<-r.ctx.Done()
				fmt.Println("over", r.created())
				<-r.refused
				fmt.Println("refused", r.created())
			})
			<-ctx.Done()
			return nil
		},
	})
	done.Wait()
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// process is a node in a process of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	// said has the lines that it printed, with the time when they came.
	said chan said
	done chan struct{}
}

type said struct {
	what string
	term string
	at   time.Time
}

func startProcess(t *testing.T, name string, endpoints []string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(os.Args[0]), said: make(chan said, 1000), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childName+"="+name, childEndpoints+"="+strings.Join(endpoints, ","))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			what, term, _ := strings.Cut(lines.Text(), " ")
			p.said <- said{what, term, time.Now()}
		}
		_ = p.cmd.Wait() // how it ended does not matter: tests kill it
	}()
	t.Cleanup(p.kill)
	return p
}

// signal returns when it was about to be sent.
func (p *process) signal(t *testing.T, s syscall.Signal) time.Time {
	t.Helper()
	at := time.Now()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	return at
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// says waits until the process says so.
func (p *process) says(t *testing.T, what string, within time.Duration) said {
	t.Helper()
	late := time.After(within)
	var last said
	for {
		select {
		case s := <-p.said:
			if s.what == what {
				return s
			}
			last = s
		case <-late:
			t.Fatalf("%s did not say %q within %v; the last that it said was %q", p.name, what, within, last.what)
		}
	}
}
