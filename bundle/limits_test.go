package bundle

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestW51_ModesInArchivesAreIgnored(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o4777, 0o000, 0o600} {
		dest, _, err := extractBytes(t, buildTar(t, item{name: "a", content: "x", mode: mode}, item{name: "b", content: "x", mode: 0o777}), "tar", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		wantTree(t, dest, map[string]string{"a": "x", "b": "x"})
	}
}

func TestW51_LimitsHold(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 10_000)
	many := make([]item, 100)
	for i := range many {
		many[i] = item{name: fmt.Sprintf("f%d", i), content: "x"}
	}
	bomb := make([]byte, 3<<20)
	low := Limits{ratioFloor: 1 << 20}
	links := []item{{name: "a", content: big}}
	for i := range 50 {
		links = append(links, item{name: fmt.Sprintf("l%d", i), link: "a"})
	}
	tests := []struct {
		name   string
		typ    string
		data   []byte
		limits Limits
	}{
		{"Bytes", "zip", buildZip(t, item{name: "a", content: big}, item{name: "b", content: big}), Limits{MaxBytes: 15_000}},
		{"BytesOfOverwrittenFiles", "tar", buildTar(t, item{name: "a", content: big}, item{name: "a", content: big}), Limits{MaxBytes: 15_000}},
		{"BytesOfLinks", "tar", buildTar(t, links...), Limits{MaxBytes: 100_000}},
		{"Files", "tar", buildTar(t, many...), Limits{MaxFiles: 50}},
		{"FoldersOfOneEntry", "zip", buildZip(t, item{name: strings.Repeat("d/", 60) + "f", content: "x"}), Limits{MaxFiles: 50}},
		{"RatioZip", "zip", buildZip(t, item{name: "a", content: string(bomb)}), low},
		{"RatioTarGz", "tar.gz", pack(t, "tar.gz", buildTar(t, item{name: "a", content: string(bomb)})), low},
		{"RatioTarZst", "tar.zst", pack(t, "tar.zst", buildTar(t, item{name: "a", content: string(bomb)})), low},
		{"RatioWithDefaults", "zip", buildZip(t, item{name: "a", content: string(make([]byte, 66<<20))}), Limits{}},
		{"RatioHiddenInSkippedEntry", "tar.gz", pack(t, "tar.gz", buildTar(t, item{name: "__MACOSX/a", content: string(bomb)}, item{name: "b", content: "x"})), low},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dest, _, err := extractBytes(t, test.data, test.typ, test.limits)
			if !errors.Is(err, ErrTooLarge) {
				t.Fatalf("got %v; want ErrTooLarge", err)
			}
			var size int64
			for _, c := range readTree(t, dest) {
				size += int64(len(c))
			}
			if size > 70_000_000 || test.limits.MaxBytes > 0 && size > test.limits.MaxBytes {
				t.Errorf("%d bytes were written", size)
			}
		})
	}
	// A small site may compress as well as it likes.
	if _, _, err := extractBytes(t, buildZip(t, item{name: "a", content: string(bomb)}), "zip", Limits{}); err != nil {
		t.Errorf("below the floor: %v", err)
	}
}
