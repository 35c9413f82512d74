package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// Levels of the compressed forms, which are made once and sent often, chosen by BenchmarkPrecompress with two
// real sites on one processor. gzip 6: 60 % and 27 % of the size at 100 to 180 MB/s; 7: 51 % and 26 % at 50 to
// 70 MB/s, about what zlib's 6 makes; 9: 50 % and 26 % at 14 to 40 MB/s. Brotli 4: 50 % and 25 % at 50 MB/s; 5:
// 48 % and 23 % at 30 to 40 MB/s; 6: 48 % and 23 % at 25 MB/s; 9: 48 % and 22 % at 10 to 14 MB/s.
const (
	gzipLevel   = 7
	brotliLevel = 5

	// Below this a response fits into one packet either way.
	minCompress = 512 // bytes
	// A compressed form must be smaller than this part of the file: below a tenth saved, decoding it costs
	// clients more than it spares them.
	worthwhile = 0.9
)

// Compressible tells by a file's name whether compressed forms are tried. Letter case does not matter.
func Compressible(name string) bool {
	return compressible[strings.TrimPrefix(strings.ToLower(path.Ext(name)), ".")]
}

// CompressibleExtensions returns the extensions of which [Compressible] is true, in lower case and sorted.
func CompressibleExtensions() []string { return slices.Sorted(maps.Keys(compressible)) }

// compressible is never changed.
var compressible = func() map[string]bool {
	m := map[string]bool{}
	for _, ext := range strings.Fields(`
		html htm xhtml shtml css js mjs cjs jsx ts tsx vue less scss sass json jsonld geojson topojson json5
		ndjson map webmanifest manifest appcache xml xsl xslt xsd rss atom rdf kml gpx wsdl dtd svg ico bmp
		cur eps ai ttf otf eot ttc txt text md markdown mdx rst adoc tex log csv tsv vtt srt ics vcf yaml
		yml toml ini conf sql graphql proto wasm wat glsl vert frag c h cc cpp go rs py rb java php sh swift
		kt diff patch obj gltf stl ply dae pdb rtf hbs mustache ejs pug cast`) {
		m[ext] = true
	}
	return m
}()

// compressedBytes is how much the compressed forms take.
type compressedBytes struct{ gzipBytes, brotliBytes int64 }

// precompress writes the compressed forms of the files below dir/FilesDir that gain from it into GzipDir and
// BrotliDir, on all processors.
func precompress(ctx context.Context, dir string) (compressedBytes, error) {
	var sum compressedBytes
	root, err := os.OpenRoot(dir)
	if err != nil {
		return sum, fmt.Errorf("compress: %w", err)
	}
	defer root.Close()
	for _, part := range []string{GzipDir, BrotliDir} {
		if err := makeDir(root, part); err != nil {
			return sum, fmt.Errorf("compress: %w", err)
		}
	}
	var gzipBytes, brotliBytes atomic.Int64
	jobs := make(chan string)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		return findCompressible(ctx, root, jobs)
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			c := newCompressor(ctx, root)
			for name := range jobs {
				if err := c.file(name); err != nil {
					return fmt.Errorf("compress %s: %w", quoteName(name), err)
				}
			}
			gzipBytes.Add(c.sum.gzipBytes)
			brotliBytes.Add(c.sum.brotliBytes)
			return nil
		})
	}
	err = g.Wait()
	return compressedBytes{gzipBytes.Load(), brotliBytes.Load()}, err
}

// findCompressible sends the names, relative to FilesDir, of the files to compress.
func findCompressible(ctx context.Context, root *os.Root, jobs chan<- string) error {
	return fs.WalkDir(root.FS(), FilesDir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !Compressible(p) {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() < minCompress {
			return err
		}
		select {
		case jobs <- strings.TrimPrefix(p, FilesDir+"/"):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// encoder is what gzip's and Brotli's writers have in common.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

// compressor is one worker's encoders and buffer.
type compressor struct {
	ctx    context.Context
	root   *os.Root
	gzip   encoder
	brotli encoder
	buf    []byte
	sum    compressedBytes
}

func newCompressor(ctx context.Context, root *os.Root) *compressor {
	gz, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
	if err != nil { // the level is a constant that exists
		gz = gzip.NewWriter(io.Discard)
	}
	return &compressor{
		ctx: ctx, root: root, buf: make([]byte, 128<<10),
		gzip:   gz,
		brotli: brotli.NewWriterLevel(io.Discard, brotliLevel),
	}
}

func (c *compressor) file(name string) error {
	src, err := c.root.Open(path.Join(FilesDir, name))
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	n, err := c.form(src, info.Size(), c.gzip, path.Join(GzipDir, name))
	if err != nil {
		return err
	}
	c.sum.gzipBytes += n
	n, err = c.form(src, info.Size(), c.brotli, path.Join(BrotliDir, name))
	c.sum.brotliBytes += n
	return err
}

var errNotWorthwhile = errors.New("the compressed form is not small enough")

// form writes one compressed form and returns its size; 0 if it was not worthwhile and is not there.
func (c *compressor) form(src io.ReadSeeker, size int64, enc encoder, name string) (n int64, err error) {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	if err := makeDirs(c.root, path.Dir(name)); err != nil {
		return 0, err
	}
	dst, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, dst.Close())
		if err != nil {
			n = 0
			_ = c.root.Remove(name)
		}
		if errors.Is(err, errNotWorthwhile) {
			err = nil
		}
	}()
	if err := dst.Chmod(0o644); err != nil {
		return 0, err
	}
	out := &boundedWriter{w: dst, left: int64(float64(size) * worthwhile)}
	bound := out.left
	enc.Reset(out)
	if _, err := io.CopyBuffer(struct{ io.Writer }{enc}, &contextReader{ctx: c.ctx, r: src}, c.buf); err != nil {
		return 0, err
	}
	if err := enc.Close(); err != nil {
		return 0, err
	}
	return bound - out.left, nil
}

// boundedWriter gives up as soon as more comes out than is worthwhile.
type boundedWriter struct {
	w    io.Writer
	left int64
}

func (b *boundedWriter) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errNotWorthwhile
	}
	return b.w.Write(p)
}

// contextReader reads until a context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// makeDir makes one folder, readable by all whatever the umask. It may exist.
func makeDir(root *os.Root, name string) error {
	err := root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

// makeDirs makes a folder and those above it.
func makeDirs(root *os.Root, name string) error {
	if _, err := root.Stat(name); err == nil || name == "." {
		return nil
	}
	if err := makeDirs(root, path.Dir(name)); err != nil {
		return err
	}
	return makeDir(root, name)
}
