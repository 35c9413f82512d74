package test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
)

// hostileArchive returns an archive that must be refused: a zip whose entry climbs out of its folder ("dotdot"), a tar
// with a link that points out and a file written through it ("link"), a zip that unpacks a thousandfold ("bomb").
func hostileArchive(kind string) ([]byte, error) {
	var b bytes.Buffer
	switch kind {
	case "dotdot":
		z := zip.NewWriter(&b)
		for _, name := range []string{"index.html", "css/../../../climbed.html"} {
			w, err := z.Create(name)
			if err != nil {
				return nil, err
			}
			if _, err := io.WriteString(w, "out"); err != nil {
				return nil, err
			}
		}
		err := z.Close()
		return b.Bytes(), err
	case "link":
		w := tar.NewWriter(&b)
		for _, h := range []*tar.Header{
			{Name: "index.html", Typeflag: tar.TypeReg, Size: 3, Mode: 0o644},
			{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "../../../../etc"},
			{Name: "out/passwd", Typeflag: tar.TypeReg, Size: 3, Mode: 0o644},
		} {
			if err := w.WriteHeader(h); err != nil {
				return nil, err
			}
			if h.Size > 0 {
				if _, err := io.WriteString(w, "out"); err != nil {
					return nil, err
				}
			}
		}
		err := w.Close()
		return b.Bytes(), err
	case "bomb":
		z := zip.NewWriter(&b)
		w, err := z.Create("zeros.bin")
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(w, zeros{}, 65<<20); err != nil {
			return nil, err
		}
		err = z.Close()
		return b.Bytes(), err
	default:
		return nil, fmt.Errorf("there is no hostile archive %q", kind)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
