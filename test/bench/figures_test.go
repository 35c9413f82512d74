package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPercentile_NearestRank(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		name   string
		values []int
		p      float64
		want   int
	}{
		{"none", nil, 50, 0}, {"one", []int{7}, 99, 7}, {"unsorted median", []int{9, 1, 5}, 50, 5},
		{"p99 of 100", hundred, 99, 99}, {"p99 of 50 is the greatest", hundred[:50], 99, 100},
		{"least", hundred, 0, 1}, {"greatest", hundred, 100, 100},
	} {
		if got := percentile(c.values, c.p); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("the values were sorted in place")
	}
}

func TestMedianAndRatios(t *testing.T) {
	t.Parallel()
	if m := median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median of four: %v", m)
	}
	if m := median(nil); m != 0 {
		t.Errorf("median of none: %v", m)
	}
	// A round in which the other side has no figure, or is missing, gives no ratio.
	if got := ratios([]float64{2, 3, 8}, []float64{1, 0}); !slices.Equal(got, []float64{2}) {
		t.Errorf("ratios: %v", got)
	}
}

func TestGrowth_SaysEachSize(t *testing.T) {
	t.Parallel()
	if got, want := growth([]int{100, 1000}, "ms", func(i int) float64 { return []float64{1.234, 0.5}[i] }), "100: 1.23, 1000: 0.5 ms"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseWrk(t *testing.T) {
	t.Parallel()
	const good = "Running 2s test @ https://localhost:1/\n  2 threads and 32 connections\n" +
		"  29000 requests in 2.10s, 285.06MB read\nRequests/sec:  13809.52\n"
	n, took, err := parseWrk(good)
	if err != nil || n != 29000 || took != 2100*time.Millisecond {
		t.Errorf("got %d in %s: %v", n, took, err)
	}
	for name, out := range map[string]string{
		"connections broke":  strings.Replace(good, "Requests/sec", "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec", 1),
		"answers were 404":   strings.Replace(good, "Requests/sec", "  Non-2xx or 3xx responses: 29000\nRequests/sec", 1),
		"nothing was served": "unable to connect to localhost:1 Connection refused\n",
	} {
		if _, _, err := parseWrk(out); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseHey(t *testing.T) {
	t.Parallel()
	const good = "\nSummary:\n  Total:\t2.0031 secs\n\nStatus code distribution:\n  [200]\t1234 responses\n"
	n, took, err := parseHey(good)
	if err != nil || n != 1234 || took != 2003100*time.Microsecond {
		t.Errorf("got %d in %s: %v", n, took, err)
	}
	for name, out := range map[string]string{
		"answers were 404":  strings.Replace(good, "[200]", "[404]", 1),
		"connections broke": good + "\nError distribution:\n  [3]\tGet \"https://localhost\": EOF\n",
		"nothing printed":   "",
	} {
		if _, _, err := parseHey(out); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestGoLoad_CountsAnswersAndRefusesFaults(t *testing.T) {
	status := http.StatusOK
	var accepted []string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(accepted) == 0 {
			accepted = r.Header["Accept-Encoding"]
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	n, took, err := goLoad(t.Context(), s.URL, "br, gzip", 1, 50*time.Millisecond)
	if err != nil || n == 0 || took < 50*time.Millisecond {
		t.Errorf("got %d in %s: %v", n, took, err)
	}
	if !slices.Equal(accepted, []string{"br, gzip"}) {
		t.Errorf("asked with Accept-Encoding %q", accepted)
	}
	status = http.StatusBadGateway
	if _, _, err := goLoad(t.Context(), s.URL, "", 1, time.Minute); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("a server that fails: %v", err)
	}
}

func TestUpdateMarkdown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(path, []byte("before\n"+beginMarker+"\nold\n"+endMarker+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rows := []row{
		row{What: "a|b", Unit: "ms", Ours: 12.34}.against("few", 6.17).atMost(10),
		row{What: "c", Unit: "requests/s", Ours: 20100}.against("caddy", 10050).ratioAtLeast(1),
	}
	var first []byte
	for range 2 { // the second time, it replaces its own table
		if err := updateMarkdown(path, []string{"Machine: one."}, rows, nil); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && string(first) != string(got) {
			t.Errorf("it changed what it had written:\n%s", got)
		}
		first = got
	}
	text := string(first)
	for _, want := range []string{
		"before\n", "\nafter\n", "| a\\|b | 12.3 ms | few: 6.17 | 2.00 |  | ≤ 10 ms: MISSED |",
		"| c | 20100 requests/s | caddy: 10050 | 2.00 |  | ratio ≥ 1: met |", "- Machine: one.\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "old") {
		t.Errorf("the old table is still there:\n%s", text)
	}
}

func TestUpdateMarkdown_KeepsThePartsThatWereNotMeasured(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(path, []byte(beginMarker+"\n"+endMarker+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	table := func(note string, only string, parts ...string) string {
		t.Helper()
		var rows []row
		measured := map[string]bool{}
		for _, part := range parts {
			rows = append(rows, row{Part: part, What: "first|" + note, Unit: "ms", Ours: 1}, row{Part: part, What: "second " + note, Unit: "ms", Ours: 2})
		}
		if only != "" {
			measured[only] = true
		}
		if err := updateMarkdown(path, []string{"Machine: one.", note}, rows, measured); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, lines, _ := strings.Cut(string(got), "| --- |\n")
		lines, _, _ = strings.Cut(lines, endMarker)
		return lines
	}
	of := func(part, note string) string {
		return "| " + part + ` | first\|` + note + " | 1 ms |  |  |  |  |\n| " + part + " | second " + note + " | 2 ms |  |  |  |  |\n"
	}
	for _, c := range []struct {
		name, note, only string
		parts            []string
		want             string
	}{
		{"one part of an empty table", "x", "b", []string{"b"}, of("b", "x") + "\n- Machine: one.\n- x\n\n"},
		{"all", "old", "", []string{"a", "b", "c"}, of("a", "old") + of("b", "old") + of("c", "old") + "\n- Machine: one.\n- old\n\n"},
		{"the middle", "new", "b", []string{"b"}, of("a", "old") + of("b", "new") + of("c", "old") + "\n- Machine: one.\n- old\n- Part b: new\n\n"},
		{"again", "newer", "b", []string{"b"}, of("a", "old") + of("b", "newer") + of("c", "old") + "\n- Machine: one.\n- old\n- Part b: newer\n\n"},
		{"one more", "old", "d", []string{"d"}, of("a", "old") + of("b", "newer") + of("c", "old") + of("d", "old") + "\n- Machine: one.\n- old\n- Part b: newer\n\n"},
		{"all again", "last", "", []string{"a"}, of("a", "last") + "\n- Machine: one.\n- last\n\n"},
	} {
		if got := table(c.note, c.only, c.parts...); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestUpdateMarkdown_FileWithoutMarkersStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.md")
	const text = "no table\n" + endMarker + "\n" + beginMarker + "\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := updateMarkdown(path, nil, nil, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the error is %v, want one that names the file", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Errorf("the file has now %q: %v", got, err)
	}
	if err := updateMarkdown(path+".missing", nil, nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestPage_SameBytesOfTheSizeAsked(t *testing.T) {
	t.Parallel()
	for _, size := range []int{servedSize, 6 << 10, 30 << 10} {
		p := page("marker here", size)
		if len(p) != size || string(p) != string(page("marker here", size)) || !strings.Contains(string(p), "marker here") {
			t.Errorf("a page of %d bytes has %d, or differs each time, or lacks its marker", size, len(p))
		}
	}
}
