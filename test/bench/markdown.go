package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The table stands between these lines.
const (
	beginMarker = "<!-- bench: begin -->"
	endMarker   = "<!-- bench: end -->"
)

// updateMarkdown replaces what stands between the markers of the file. If only some parts were measured, it keeps the
// rows of the others.
func updateMarkdown(path string, notes []string, rows []row, only map[string]bool) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := replaceTable(old, func(old string) string { return markdownTable(old, notes, rows, only) })
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".bench-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func replaceTable(text []byte, table func(old string) string) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(beginMarker))
	if !ok {
		return nil, fmt.Errorf("has no line %s", beginMarker)
	}
	old, after, ok := bytes.Cut(rest, []byte(endMarker))
	if !ok {
		return nil, fmt.Errorf("has no line %s after %s", endMarker, beginMarker)
	}
	return fmt.Appendf(nil, "%s%s\n%s%s%s", before, beginMarker, table(string(old)), endMarker, after), nil
}

// markdownTable writes the rows and notes, between them what it keeps of the old table.
func markdownTable(old string, notes []string, rows []row, only map[string]bool) string {
	kept, keptNotes := keep(old, only)
	var b strings.Builder
	b.WriteString("\n" + markdownLine(header[:]) + markdownLine([]string{"---", "---", "---:", "---", "---:", "---", "---"}))
	lines := kept
	for _, r := range rows {
		lines = append(lines, markdownLine(r.cells()))
	}
	// Stable: within a part they stay as they were measured.
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(partOf(a), partOf(b)) })
	b.WriteString(strings.Join(lines, "") + "\n")
	if len(kept) > 0 {
		notes = mergeNotes(keptNotes, notes, only)
	}
	for _, n := range notes {
		b.WriteString("- " + n + "\n")
	}
	b.WriteString("\n")
	return b.String()
}

func markdownLine(cells []string) string {
	var b strings.Builder
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	return b.String() + "|\n"
}

// partOf returns the letter that a line of a table begins with; "" if it is none of a part's.
func partOf(line string) string {
	cells := strings.SplitN(line, "|", 3)
	if len(cells) < 3 {
		return ""
	}
	if part := strings.TrimSpace(cells[1]); len(part) == 1 && part >= "a" && part <= "z" {
		return part
	}
	return ""
}

// keep returns the lines of parts that were not measured now, and the notes about them. Without -only there are none.
func keep(old string, only map[string]bool) (lines, notes []string) {
	if len(only) == 0 {
		return nil, nil
	}
	for line := range strings.Lines(old) {
		if part := partOf(line); part != "" && !only[part] {
			lines = append(lines, line)
		}
		note, ok := strings.CutPrefix(strings.TrimSpace(line), "- ")
		if part, _, about := strings.Cut(strings.TrimPrefix(note, aboutPart), ": "); ok && !(about && strings.HasPrefix(note, aboutPart) && only[part]) {
			notes = append(notes, note)
		}
	}
	return lines, notes
}

// aboutPart begins a note that does not hold for all parts.
const aboutPart = "Part "

// mergeNotes adds to the old notes what is different for the parts that were measured now.
func mergeNotes(old, notes []string, only map[string]bool) []string {
	for _, part := range slices.Sorted(maps.Keys(only)) {
		for _, n := range notes {
			if !slices.Contains(old, n) {
				old = append(old, aboutPart+part+": "+n)
			}
		}
	}
	return old
}
