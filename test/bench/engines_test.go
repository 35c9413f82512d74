package main

import (
	"os"
	"testing"
)

// All rows of both web servers are filled, at sizes that say nothing. It takes half a minute.
func TestEngines_FillEveryRow(t *testing.T) {
	if os.Getenv("STATIKO_SOAK") == "" {
		t.Skip("takes half a minute; STATIKO_SOAK=1 runs it")
	}
	if !haveNginx() {
		t.Skip("nginx is not installed")
	}
	b := newBench(t)
	b.only = map[string]bool{enginesPart: true}
	b.size.engines = []int{4, 10, 20}
	if err := b.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.rows) != 5*len(engineNames) {
		t.Errorf("%d rows", len(b.rows))
	}
	for _, r := range b.rows {
		if r.Ours <= 0 {
			t.Errorf("%s: measured %v %s", r.What, r.Ours, r.Unit)
		}
	}
}
