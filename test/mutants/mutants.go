package main

import "slices"

// mutant is one deliberate bug, and the narrowest test that must find it.
type mutant struct {
	name  string
	edits []edit
	pkg   string
	run   string
	env   []string
}

// chaos has the scenarios of test/chaos run; the seed makes the clients' choices the same each time.
var chaos = []string{"STATIKO_CHAOS=1", "CHAOS_SEED=1"}

var mutants = slices.Concat(stateMutants, nodeMutants)
