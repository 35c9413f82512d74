package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"statiko/etcdclient"
	"statiko/filestore"
	"statiko/secret"
	"statiko/test/etcdtest"
)

// childEnv holds, for a test's child process, what it shall do.
const childEnv = "STATIKO_TEST_MIGRATE"

// childPlan is one migration that kills itself after a step.
type childPlan struct {
	FromFile, ToFile string
	Endpoints        []string
	Prefix           string
	DieAfter         string
}

func (p childPlan) place(file string) Place {
	k, err := secret.NewKeyring(keyA)
	if err != nil {
		panic(err)
	}
	place := Place{File: file, Keyring: k}
	if file == "" {
		place.Etcd = Etcd{Client: etcdclient.Options{Endpoints: p.Endpoints}, Prefix: p.Prefix, NodeName: "edge-1"}
	}
	return place
}

// childMain is the child process's main; false in a test.
func childMain() bool {
	text := os.Getenv(childEnv)
	if text == "" {
		return false
	}
	var plan childPlan
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		panic(err)
	}
	_, err := Run(context.Background(), Options{From: plan.place(plan.FromFile), To: plan.place(plan.ToFile), after: func(step string) {
		if step == plan.DieAfter {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	fmt.Println("survived:", err)
	return true
}

// dies runs the plan in a process that must be killed by itself.
func (p childPlan) dies(t testing.TB) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed after %s: %v\n%s", p.DieAfter, err, out)
	}
}

// steps are all after which a process can die, in their order.
var steps = []string{"read", "copied", "compared", "verified", "released", "marked"}

// crashAtEachStep: a killed process leaves the source in force up to the last step, and the next run completes.
func crashAtEachStep(t *testing.T, c *etcdtest.Cluster) {
	for i, step := range steps {
		t.Run("file to etcd, "+step, func(t *testing.T) {
			t.Parallel()
			file, etcd := filePlace(t), etcdPlaceOn(t, c)
			put(t, file, full(t, file.Keyring)...)
			before := document(t, file)
			childPlan{FromFile: file.File, Endpoints: c.Endpoints(), Prefix: etcd.Etcd.Prefix, DieAfter: step}.dies(t)
			_, err := filestore.MovedFrom(file.File)
			if err != nil {
				t.Fatal(err)
			}
			result := ResultMigrated
			if last := i == len(steps)-1; last {
				result = ResultAlready
			} else if got := document(t, file); got != before {
				t.Errorf("the source has %s", got)
			}
			migrated(t, Options{From: file, To: etcd}, result)
			if got := document(t, etcd); got != before {
				t.Errorf("etcd has %s", got)
			}
			if m, err := filestore.MovedFrom(file.File); m == nil || err != nil {
				t.Errorf("the file is not marked: %v", err)
			}
		})
		t.Run("etcd to a file that was moved there, "+step, func(t *testing.T) {
			t.Parallel()
			file, etcd := filePlace(t), etcdPlaceOn(t, c)
			put(t, file, full(t, file.Keyring)...)
			migrated(t, Options{From: file, To: etcd}, ResultMigrated)
			put(t, etcd, site("since.example.org"))
			before := document(t, etcd)
			childPlan{ToFile: file.File, Endpoints: c.Endpoints(), Prefix: etcd.Etcd.Prefix, DieAfter: step}.dies(t)
			if got := document(t, etcd); got != before {
				t.Errorf("the source has %s", got)
			}
			// As long as the copy was not compared with the newest state, no node starts with it.
			m, err := filestore.MovedFrom(file.File)
			if err != nil || (m != nil) != (step != "released" && step != "marked") {
				t.Errorf("marker %v, %v", m, err)
			}
			result := ResultMigrated
			if m == nil {
				result = ResultAlready
			}
			migrated(t, Options{From: etcd, To: file}, result)
			if got := document(t, file); got != before {
				t.Errorf("the file has %s", got)
			}
		})
	}
}
