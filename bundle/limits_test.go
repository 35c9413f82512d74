package bundle

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
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

// zipOfZeros is an archive of one file, so many mebibytes of zeros. Only the first of them is compressed: a flushed
// stream of deflate goes on with whatever is appended.
func zipOfZeros(t *testing.T, mebibytes int) []byte {
	t.Helper()
	mebibyte := make([]byte, 1<<20)
	var packed bytes.Buffer
	deflate, err := flate.NewWriter(&packed, flate.BestCompression)
	if err == nil {
		_, err = deflate.Write(mebibyte)
	}
	if err == nil {
		err = deflate.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	stream := bytes.Repeat(packed.Bytes(), mebibytes)
	packed.Reset()
	if err := deflate.Close(); err != nil {
		t.Fatal(err)
	}
	stream = append(stream, packed.Bytes()...)
	sum := crc32.NewIEEE()
	for range mebibytes {
		_, _ = sum.Write(mebibyte) // it never fails
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateRaw(&zip.FileHeader{
		Name: "a", Method: zip.Deflate, CRC32: sum.Sum32(),
		CompressedSize64: uint64(len(stream)), UncompressedSize64: uint64(mebibytes) << 20,
	})
	if err == nil {
		_, err = f.Write(stream)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
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
		{"RatioWithDefaults", "zip", zipOfZeros(t, 66), Limits{}},
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
