package dhparams

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childFlag makes the test program the process of a search.
const childFlag = "-dhparams.child"

var isChild = flag.Bool(childFlag[1:], false, "be the process of a search")

func TestMain(m *testing.M) {
	flag.Parse()
	if *isChild {
		if err := RunChild(context.Background(), flag.Args(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func child(t *testing.T) func(context.Context, Options) (*Params, error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Child(program, childFlag)
}

func TestChild_FindsAndReports(t *testing.T) {
	t.Parallel()
	reports := 0
	p, err := child(t)(t.Context(), Options{Bits: 1024, Workers: 1, Progress: func(p Progress) {
		if p.Expected > 100 {
			reports++
		}
	}})
	if err != nil || p.Check(true) != nil || reports == 0 {
		t.Errorf("%v, %v, %d reports", p, err, reports)
	}
}

func TestChild_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended time.Time
	_, err := child(t)(ctx, Options{Bits: 8192, Workers: 1, Progress: func(Progress) {
		if ended.IsZero() {
			ended = time.Now()
			cancel()
		}
	}})
	if late := time.Since(ended); !errors.Is(err, context.Canceled) || ended.IsZero() || late > 2*time.Second {
		t.Errorf("%v, %v late", err, late)
	}
}

// Whoever started the process is gone: its standard input ends.
func TestChild_EndsWithItsParent(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, childFlag, "8192", "1").CombinedOutput()
	if ctx.Err() != nil || err == nil || !strings.Contains(string(out), "context canceled") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestChild_FaultsAreReported(t *testing.T) {
	t.Parallel()
	if _, err := Child("/no/such/program")(t.Context(), Options{Bits: 1024}); err == nil {
		t.Error("a program that is missing was started")
	}
	if _, err := child(t)(t.Context(), Options{Bits: 12}); err == nil || !strings.Contains(err.Error(), "12 bits are not made") {
		t.Errorf("12 bits: %v", err)
	}
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Skip(err)
	}
	if _, err := Child(echo)(t.Context(), Options{Bits: 1024}); err == nil {
		t.Error("a program that says something else passed")
	}
	if _, err := Child(echo, "{}")(t.Context(), Options{Bits: 1024}); err == nil {
		t.Error("a program without a result passed")
	}
	for _, args := range [][]string{nil, {"1024"}, {"x", "1"}, {"1024", "y"}} {
		if err := RunChild(t.Context(), args, strings.NewReader(""), os.Stdout); err == nil {
			t.Errorf("%q passed", args)
		}
	}
}
