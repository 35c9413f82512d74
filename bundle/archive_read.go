package bundle

import (
	"archive/tar"
	"archive/zip"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/nwaples/rardecode/v2"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// maxDictionary bounds what a decoder may keep in memory, in bytes. "zstd --long" and "xz -9e" stay below.
const maxDictionary = 128 << 20

type entryKind uint8

const (
	entryOther  entryKind = iota // devices and the like, which are skipped
	entryFolder                  //
	entryFile                    //
	entrySym                     // a symbolic link: target is relative to the link's folder
	entryHard                    // a hard link: target is relative to the root
)

// entry is one entry of an archive. body is valid until visit returns.
type entry struct {
	name   string
	kind   entryKind
	target string
	size   int64 // as declared; -1 if unknown
	body   io.Reader
}

// walkArchive calls visit for each entry in the order of the archive and returns its error as it is.
func walkArchive(ctx context.Context, f io.ReaderAt, size int64, typ string, limits Limits, visit func(entry) error) (err error) {
	// Decoders of strangers' bytes have had panics before. They all run on this goroutine; one must cost the
	// bundle, not the node.
	defer func() {
		if r := recover(); r != nil {
			err = &ArchiveError{Reason: "the archive is damaged", Err: fmt.Errorf("decoder: %v", r)}
		}
	}()
	if size == 0 {
		return &ArchiveError{Reason: "the archive is empty (0 bytes)"}
	}
	typ = longType(typ)
	head := make([]byte, sniffLen)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read archive: %w", err)
	}
	if looks := sniff(head[:n]); looks != "" && looks != typ {
		return &ArchiveError{Reason: fmt.Sprintf("the archive is declared as %s but looks like %s", typ, looks)}
	}
	in := &cancelReader{ctx: ctx, at: f}
	switch typ {
	case "zip":
		return walkZip(in, size, visit)
	case "rar":
		return walkRar(io.NewSectionReader(in, 0, size), visit)
	case "tar.xz":
		if err := checkXZ(io.NewSectionReader(in, 0, size), maxDictionary); err != nil {
			return &ArchiveError{Reason: "the archive is damaged or not tar.xz", Err: err}
		}
	}
	stream, closeStream, err := decompress(typ, io.NewSectionReader(in, 0, size))
	if err != nil {
		return &ArchiveError{Reason: "the archive is damaged or not " + typ, Err: err}
	}
	defer closeStream()
	return walkTar(&streamReader{r: stream, left: limits.streamBytes()}, typ, visit)
}

// decompress opens the stream of a tar archive. All decoders work on the caller's goroutine.
func decompress(typ string, r io.Reader) (io.Reader, func(), error) {
	nothing := func() {}
	switch typ {
	case "tar":
		return r, nothing, nil
	case "tar.gz":
		z, err := gzip.NewReader(r)
		return z, nothing, err
	case "tar.bz2":
		return bzip2.NewReader(r), nothing, nil
	case "tar.xz":
		z, err := xz.NewReader(r)
		return z, nothing, err
	case "tar.zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxDictionary), zstd.WithDecoderMaxMemory(2*maxDictionary))
		if err != nil {
			return nil, nothing, err
		}
		return z, z.Close, nil
	case "tar.lz4":
		return lz4.NewReader(r), nothing, nil
	case "tar.sz":
		return s2.NewReader(r), nothing, nil
	}
	return nil, nothing, CheckType(typ)
}

func walkTar(stream *streamReader, typ string, visit func(entry) error) error {
	reason := "the archive is damaged or not " + typ
	tr := tar.NewReader(stream)
	last := ""
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return damaged(last, reason, err)
		}
		last = h.Name
		e := entry{name: h.Name, size: h.Size, body: tr, target: h.Linkname}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
			e.kind = entryFile
		case tar.TypeDir:
			e.kind = entryFolder
		case tar.TypeSymlink:
			e.kind = entrySym
		case tar.TypeLink:
			e.kind = entryHard
		case tar.TypeXGlobalHeader:
			continue // comments, such as the commit that git archive notes
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	// Reading on to the end lets the decompressor check its checksum. Without compression there is none, and
	// framed snappy may be cut after any frame, so the end of the tar itself must be marked.
	if (typ == "tar" || typ == "tar.sz") && !stream.zeroTail() {
		return damaged(last, reason, errors.New("the end is missing"))
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return damaged(last, reason, err)
	}
	return nil
}

func walkZip(r io.ReaderAt, size int64, visit func(entry) error) error {
	zr, err := zip.NewReader(r, size)
	if err != nil {
		return &ArchiveError{Reason: "the archive is damaged or not zip", Err: err}
	}
	for _, f := range zr.File {
		if err := walkZipEntry(f, visit); err != nil {
			return err
		}
	}
	return nil
}

func walkZipEntry(f *zip.File, visit func(entry) error) error {
	e := entry{name: f.Name, size: -1}
	if f.UncompressedSize64 < 1<<63 {
		e.size = int64(f.UncompressedSize64)
	}
	switch mode := f.Mode(); {
	case strings.HasSuffix(f.Name, "/"), mode.IsDir():
		e.kind = entryFolder
		return visit(e)
	case mode.IsRegular():
		e.kind = entryFile
	case mode.Type() == fs.ModeSymlink:
		e.kind = entrySym
	default:
		return visit(e)
	}
	const encrypted = 1
	if f.Flags&encrypted != 0 {
		return &ArchiveError{Entry: f.Name, Reason: "is encrypted; pack it without a password"}
	}
	body, err := f.Open()
	if err != nil {
		return &ArchiveError{Entry: f.Name, Reason: "cannot be unpacked", Err: err}
	}
	defer body.Close()
	e.body = body
	if e.kind == entrySym {
		target, err := io.ReadAll(io.LimitReader(body, maxLinkTarget+1))
		if err != nil {
			return &ArchiveError{Entry: f.Name, Reason: "is damaged", Err: err}
		}
		e.target = string(target)
	}
	return visit(e)
}

func walkRar(r io.Reader, visit func(entry) error) error {
	fault := func(name string, err error) error {
		if errors.Is(err, rardecode.ErrArchiveEncrypted) || errors.Is(err, rardecode.ErrArchivedFileEncrypted) {
			return &ArchiveError{Entry: name, Reason: "is encrypted; pack it without a password"}
		}
		return damaged(name, "the archive is damaged or not rar", err)
	}
	rr, err := rardecode.NewReader(r, rardecode.MaxDictionarySize(maxDictionary))
	if err != nil {
		return fault("", err)
	}
	last := ""
	for {
		h, err := rr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault(last, err)
		}
		last = h.Name
		e := entry{name: h.Name, size: h.UnPackedSize, body: rr, target: h.LinkTarget}
		if h.UnKnownSize {
			e.size = -1
		}
		switch mode := h.Mode(); {
		case h.Encrypted || h.HeaderEncrypted:
			return fault(h.Name, rardecode.ErrArchivedFileEncrypted)
		case h.IsDir:
			e.kind = entryFolder
		case h.LinkType == rardecode.LinkTypeHardLink || h.LinkType == rardecode.LinkTypeFileCopy:
			e.kind = entryHard
		case mode.Type() == fs.ModeSymlink:
			e.kind = entrySym
			if e.target == "" { // before RAR 5 the content is the target
				target, err := io.ReadAll(io.LimitReader(rr, maxLinkTarget+1))
				if err != nil {
					return fault(h.Name, err)
				}
				e.target = string(target)
			}
		case mode.IsRegular() && h.LinkType == 0:
			e.kind = entryFile
		}
		if err := visit(e); err != nil {
			return err
		}
	}
}
