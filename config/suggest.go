package config

import (
	"strings"
)

// nearest returns the known key or section that name most likely means, "" if none is near.
func (l *loader) nearest(name string) string {
	if len(name) > 80 {
		return ""
	}
	name = strings.ToLower(name)
	best, bestCost := "", 1<<30
	try := func(known, spelling string) {
		cost := distance(name, known)
		// A key at the wrong place (`psk.key`, `tls.httpAddress`) is nearer than its spelling tells.
		if last(name) == last(known) && len(last(name)) > 3 || strings.HasSuffix(known, "."+name) {
			cost = min(cost, 2)
		}
		limit := max(2, len(known)/4)
		if cost <= limit && (cost < bestCost || cost == bestCost && spelling < best) {
			best, bestCost = spelling, cost
		}
	}
	for i := range l.table {
		for _, known := range append([]string{l.table[i].name}, l.table[i].aliases...) {
			try(strings.ToLower(known), l.table[i].name)
		}
	}
	for known, spelling := range l.index.sections {
		try(known, spelling)
	}
	return best
}

func last(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// distance is the number of letters to insert, delete, replace or swap with their neighbour to make b of a
// (the optimal string alignment distance).
func distance(a, b string) int {
	row := func() []int { return make([]int, len(b)+1) }
	before, prev, cur := row(), row(), row()
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
