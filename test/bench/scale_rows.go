package main

import "fmt"

// Targets, the first two with as many sites as targetSites, or the most that are measured if that is less.
const (
	targetSites   = 10_000
	targetServe   = 10  // s
	targetMemory  = 300 // MB
	targetOneMore = 100 // ms
	megabyte      = 1e6
)

// startRows are the rows about starts, memory and one site more, by the numbers of sites.
func startRows(counts []int, all []*scaled) []row {
	few, many := all[0], all[len(all)-1]
	beside := func(what, unit string, f func(*scaled) float64) row {
		r := row{Part: "b", What: fmt.Sprintf("%s, %d sites", what, many.sites), Unit: unit, Ours: f(many)}.
			against(fmt.Sprintf("%d sites", few.sites), f(few))
		r.Growth = growth(counts, unit, func(i int) float64 { return f(all[i]) })
		return r
	}
	// linear is for what grows with each site.
	linear := func(what, unit string, f func(*scaled) float64) row {
		r := beside(what, unit, f)
		r.Growth += fmt.Sprintf("; %s %s a site more", number((f(many)-f(few))/float64(many.sites-few.sites)*1000), thousandth(unit))
		return r
	}
	aimed := all[0]
	for _, s := range all {
		if s.sites <= targetSites {
			aimed = s
		}
	}
	aim := func(r row, limit, figure float64) row {
		return r.target(fmt.Sprintf("≤ %s %s with %d sites", number(limit), r.Unit, aimed.sites), figure <= limit)
	}
	serves := func(s *scaled) float64 { return s.serves.Seconds() }
	peak := func(s *scaled) float64 { return float64(s.peak) / megabyte }
	hosts := linear("start to all hosts answered", "s", serves)
	hosts.Growth += fmt.Sprintf("; processor time: node %s s, asking %s s", number(many.nodeTime.Seconds()), number(many.asking.Seconds()))
	one := func(p float64) row {
		return beside(fmt.Sprintf("one site more, POST to HTTPS, p%.0f", p), "ms",
			func(s *scaled) float64 { return milliseconds(percentile(s.adds, p)) }).atMost(targetOneMore)
	}
	return []row{
		beside("restore without certificates to all served", "sites/s", func(s *scaled) float64 { return float64(s.sites) / s.restored.Seconds() }),
		linear("start to the API's answer", "s", func(s *scaled) float64 { return s.answers.Seconds() }),
		linear("start to the last site's answer, others not asked for", "s", func(s *scaled) float64 { return s.last.Seconds() }),
		aim(hosts, targetServe, serves(aimed)),
		aim(linear("memory at most (VmHWM)", "MB", peak), targetMemory, peak(aimed)),
		linear("memory when settled (VmRSS)", "MB", func(s *scaled) float64 { return float64(s.settled) / megabyte }),
		one(50), one(99),
	}
}

// thousandth names a unit's thousandth.
func thousandth(unit string) string {
	return map[string]string{"s": "ms", "MB": "kB"}[unit]
}
