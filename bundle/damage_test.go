package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

func TestW35_DamagedArchivesAreErrors(t *testing.T) {
	t.Parallel()
	for _, typ := range Types()[:9] {
		t.Run(typ, func(t *testing.T) {
			whole := buildSite(t, typ)
			for _, keep := range []int{0, 1, 7, len(whole) / 4, len(whole) / 2, len(whole) * 3 / 4, len(whole) - 9, len(whole) - 1} {
				if typ == "tar" && keep > len(whole)-512 {
					continue // the second block of the end may be missing
				}
				if typ == "rar" && keep >= len(whole)-9 {
					continue // the end header says nothing
				}
				dest, _, err := extractBytes(t, whole[:keep], typ, Limits{})
				if err == nil {
					t.Errorf("cut after %d of %d bytes: no error; unpacked %v", keep, len(whole), readTree(t, dest))
					continue
				}
				wantArchiveError(t, err, errEntry(err), "")
			}
			if typ == "tar" {
				return // has no checksum of contents
			}
			damaged := bytes.Clone(whole)
			at := len(damaged) / 2
			if typ == "rar" {
				at = bytes.Index(damaged, []byte("color"))
			}
			if typ == "zip" {
				at = 30 + len("index.html") + 8
			}
			damaged[at] ^= 0x55
			if dest, _, err := extractBytes(t, damaged, typ, Limits{}); err == nil {
				t.Errorf("byte %d changed: no error; unpacked %v", at, readTree(t, dest))
			}
		})
	}
}

func errEntry(err error) string {
	var ae *ArchiveError
	if errors.As(err, &ae) {
		return ae.Entry
	}
	return ""
}

func TestExtract_WrongTypeSaysWhatItLooksLike(t *testing.T) {
	t.Parallel()
	for _, declared := range []string{"zip", "tar", "tgz", "rar"} {
		for _, is := range Types()[:9] {
			if longType(declared) == is {
				continue
			}
			_, _, err := extractBytes(t, buildSite(t, is), declared, Limits{})
			wantArchiveError(t, err, "", fmt.Sprintf("declared as %s but looks like %s", longType(declared), is))
		}
	}
	_, _, err := extractBytes(t, []byte("just text, no archive at all"), "zip", Limits{})
	wantArchiveError(t, err, "", "not zip")
	_, _, err = extractBytes(t, []byte("x"), "exe", Limits{})
	wantArchiveError(t, err, "", `"exe" is not a type of archive; known ones are zip,`)
	_, _, err = extractBytes(t, pack(t, "tar.gz", []byte(strings.Repeat("no tar inside ", 100))), "tar.gz", Limits{})
	wantArchiveError(t, err, "", "not tar.gz")
}

func TestExtract_EncryptedZipSaysSo(t *testing.T) {
	t.Parallel()
	data := buildZip(t, item{name: "a", content: "x"})
	at := bytes.Index(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint16(data[at+8:], binary.LittleEndian.Uint16(data[at+8:])|1)
	if r, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err != nil || r.File[0].Flags&1 == 0 {
		t.Fatalf("the archive is not what it should be: %v", err)
	}
	_, _, err := extractBytes(t, data, "zip", Limits{})
	wantArchiveError(t, err, "a", "encrypted")
}

func TestExtract_HugeXZDictionaryIsRefused(t *testing.T) {
	t.Parallel()
	data := buildSite(t, "tar.xz")
	at := bytes.Index(data[12:], []byte{0x21, 1}) + 12 + 2
	data[at] = 40 // 4 GiB
	_, _, err := extractBytes(t, data, "tar.xz", Limits{})
	wantArchiveError(t, err, "", "dictionary has")
}

func TestExtract_XZOfManyBlocksAndStreams(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("some text that is repeated; ", 20_000)
	archive := buildTar(t, item{name: "a", content: content}, item{name: "b", content: "b"})
	var b bytes.Buffer
	for _, part := range [][]byte{archive[:len(archive)/2], archive[len(archive)/2:]} {
		w, err := xz.WriterConfig{BlockSize: 50_000, CheckSum: xz.SHA256}.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b.Write(make([]byte, 8)) // padding
	}
	dest, _, err := extractBytes(t, b.Bytes(), "txz", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dest, map[string]string{"a": content, "b": "b"})
}
