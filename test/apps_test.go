package test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"statiko/test/cluster"
)

// Real apps upload, deploy and serve byte for byte what they contain, over HTTP/2, right after the deploy. The
// environment variable STATIKO_TEST_APPS names the folder that has them.
func TestApps_ServedByteForByte(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("STATIKO_TEST_APPS")
	if dir == "" {
		t.Skip("STATIKO_TEST_APPS does not name a folder with reveal.zip, reveal.tar.gz and swagger-ui.tar.bz2")
	}
	n := newNode(t)
	n.Bin = builtFast(t)
	n.Start(t)
	v := cluster.Visit(t, n)
	for _, archive := range []string{"reveal.zip", "reveal.tar.gz", "swagger-ui.tar.bz2"} {
		files, err := unpack(filepath.Join(dir, archive))
		if err != nil {
			t.Fatal(err)
		}
		app := strings.ReplaceAll(archive, ".", "-")
		domain := app + ".example.org"
		n.Stkcli(t, "site", "add", "-d", domain, "--wait")
		n.Stkcli(t, "app", "upload", "-a", app, "-f", filepath.Join(dir, archive))
		n.Stkcli(t, "deploy", "-d", domain, "-a", app, "--wait")
		total, hidden := 0, 0
		for name, want := range files {
			p, err := v.Get("https://" + domain + (&url.URL{Path: "/" + name}).EscapedPath())
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
				// What is hidden is not for visitors, whoever packed it.
				if hidden++; p.Status != 404 {
					t.Errorf("%s: %s is hidden and answers %d", archive, name, p.Status)
				}
				continue
			}
			if p.Status != 200 || p.Proto != 2 || !bytes.Equal(p.Body, want) {
				t.Errorf("%s: %s is served as HTTP/%d %d with %d bytes of %d", archive, name, p.Proto, p.Status, len(p.Body), len(want))
			}
			total += len(want)
		}
		t.Logf("%s: %d files, %d of them hidden, %d bytes", archive, len(files), hidden, total)
		if len(files) < 10 {
			t.Errorf("%s has only %d files", archive, len(files))
		}
	}
}

// unpack returns the files of an archive by the paths under which they are to be served.
func unpack(file string) (map[string][]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	if strings.HasSuffix(file, ".zip") {
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return nil, err
		}
		for _, f := range z.File {
			if f.FileInfo().IsDir() {
				continue
			}
			r, err := f.Open()
			if err != nil {
				return nil, err
			}
			files[path.Clean(f.Name)], err = io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil {
				return nil, err
			}
		}
		return promote(files), nil
	}
	var r io.Reader = bzip2.NewReader(bytes.NewReader(data))
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(bytes.NewReader(data)); err != nil {
			return nil, err
		}
	}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			return promote(files), nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if files[path.Clean(h.Name)], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
}

// promote takes a single folder at the top away.
func promote(files map[string][]byte) map[string][]byte {
	top := ""
	for name := range files {
		first, _, below := strings.Cut(name, "/")
		if !below || (top != "" && first != top) {
			return files
		}
		top = first
	}
	promoted := map[string][]byte{}
	for name, data := range files {
		promoted[strings.TrimPrefix(name, top+"/")] = data
	}
	return promote(promoted)
}
