package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// row is one figure.
type row struct {
	// Part is the letter of the measurement.
	Part string `json:"part"`
	What string `json:"what"`
	Unit string `json:"unit"`
	// Ours is Statiko's figure.
	Ours float64 `json:"ours"`
	// Reference is what ours is compared with, named by Against; 0 without one.
	Reference float64 `json:"reference,omitempty"`
	Against   string  `json:"against,omitempty"`
	// Ratio is ours to the reference: the quotient, or the median of the quotients of each round. 0 without one.
	Ratio float64 `json:"ratio,omitempty"`
	// Growth says how the figure grows with the number of sites, or how it spread.
	Growth string `json:"growth,omitempty"`
	// Target is what is aimed at, for people; Met tells whether it was reached, nil if there is none.
	Target string `json:"target,omitempty"`
	Met    *bool  `json:"met,omitempty"`
}

// atMost and atLeast set the target.
func (r row) atMost(limit float64) row {
	return r.target("≤ "+number(limit)+" "+r.Unit, r.Ours <= limit)
}

// ratioAtLeast aims at a ratio to the reference.
func (r row) ratioAtLeast(limit float64) row {
	if r.Ratio == 0 {
		return r
	}
	return r.target("ratio ≥ "+number(limit), r.Ratio >= limit)
}

func (r row) target(text string, met bool) row {
	r.Target, r.Met = text, &met
	return r
}

// against sets the reference and the ratio of the figures.
func (r row) against(name string, reference float64) row {
	r.Against, r.Reference = name, reference
	if reference != 0 {
		r.Ratio = r.Ours / reference
	}
	return r
}

// cells are the columns of the printed tables.
func (r row) cells() []string {
	ours, reference, ratio, target := "", "", "", r.Target
	if r.Unit != "" { // a row without one only says what is missing
		ours = number(r.Ours) + " " + r.Unit
	}
	if r.Against != "" {
		reference = r.Against
		if r.Reference != 0 {
			reference += ": " + number(r.Reference)
		}
	}
	if r.Ratio != 0 {
		ratio = fmt.Sprintf("%.2f", r.Ratio)
	}
	if r.Met != nil {
		target += map[bool]string{true: ": met", false: ": MISSED"}[*r.Met]
	}
	return []string{r.Part, r.What, ours, reference, ratio, r.Growth, target}
}

var header = [...]string{"part", "what", "ours", "reference", "ratio", "how it grows or spreads", "target"}

// growth says what a figure is at each of the sizes, such as "100: 1.20, 1000: 1.25, 10000: 1.31 ms".
func growth(sizes []int, unit string, figure func(i int) float64) string {
	var each []string
	for i, size := range sizes {
		each = append(each, fmt.Sprintf("%d: %s", size, number(figure(i))))
	}
	return strings.Join(each, ", ") + " " + unit
}

// number writes three significant digits, and all digits before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || a == math.Trunc(a):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// writeTable prints the rows in aligned columns.
func writeTable(w io.Writer, notes []string, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header[:], "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r.cells(), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\n"+strings.Join(notes, "\n"))
	return err
}

// writeJSON prints the rows for programs.
func writeJSON(w io.Writer, notes []string, rows []row) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Notes []string `json:"notes"`
		Rows  []row    `json:"rows"`
	}{notes, rows})
}
