package bundle

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// cancelReader reads from a file until a context ends.
type cancelReader struct {
	ctx context.Context
	at  io.ReaderAt
}

func (c *cancelReader) ReadAt(p []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.at.ReadAt(p, off)
}

// streamReader bounds a decompressed stream and remembers whether its end is zero.
type streamReader struct {
	r     io.Reader
	left  int64
	zeros int64 // bytes of value zero at the end of what was read so far
}

func (s *streamReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.left -= int64(n); s.left < 0 {
		return n, fmt.Errorf("the archive unpacks to more than its limits allow: %w", ErrTooLarge)
	}
	end := n
	for end > 0 && p[end-1] == 0 {
		end--
	}
	if end > 0 {
		s.zeros = 0
	}
	s.zeros += int64(n - end)
	return n, err
}

// zeroTail tells whether at least one block of zeros was read last, which ends a tar archive.
func (s *streamReader) zeroTail() bool { return s.zeros >= 512 }

// checkXZ walks over the structure of an xz file without decoding it, because the decoder allocates whatever
// dictionary a block's header asks for, up to 4 GiB. It returns an error if one asks for more than limit bytes
// or if the structure is not that of the format's specification (version 1.1.0, sections 2 to 4; LZMA2 chunks as in xz's
// lzma2_decoder).
func checkXZ(r io.Reader, limit int64) error {
	x := &xzWalker{br: bufio.NewReaderSize(r, 64<<10)}
	for {
		if err := x.stream(limit); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		for { // padding between streams: groups of four zeros
			pad, err := x.br.Peek(4)
			if errors.Is(err, io.EOF) && len(pad) == 0 {
				return nil
			}
			if err != nil {
				return fmt.Errorf("after the stream: %w", err)
			}
			if binary.LittleEndian.Uint32(pad) != 0 {
				break
			}
			x.skip(4)
		}
	}
}

type xzWalker struct {
	br  *bufio.Reader
	pos int64 // within the stream
	err error // the first; everything after it reads zeros
}

func (x *xzWalker) skip(n int64) {
	if x.err == nil {
		_, x.err = io.CopyN(io.Discard, x.br, n)
		x.pos += n
	}
}

func (x *xzWalker) read(n int) []byte {
	b := make([]byte, n)
	if x.err == nil {
		_, x.err = io.ReadFull(x.br, b)
		x.pos += int64(n)
	}
	return b
}

func (x *xzWalker) align() { x.skip((4 - x.pos%4) % 4) }

// number reads a multibyte integer (section 1.2).
func (x *xzWalker) number() uint64 {
	var v uint64
	for i := 0; i < 9; i++ {
		b := x.read(1)[0]
		v |= uint64(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			break
		}
	}
	return v
}

func (x *xzWalker) stream(limit int64) error {
	x.pos = 0
	head := x.read(12)
	if x.err == nil && string(head[:6]) != "\xfd7zXZ\x00" {
		return errors.New("not an xz stream")
	}
	checkSizes := [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
	check := checkSizes[head[7]&0x0f]
	for x.err == nil {
		size := x.read(1)[0]
		if size == 0 {
			break
		}
		if err := xzDictionary(x.read((int(size)+1)*4-1), limit); x.err == nil && err != nil {
			return err
		}
		x.chunks()
		x.align()
		x.skip(check)
	}
	for records := x.number(); records > 0 && x.err == nil; records-- {
		x.number()
		x.number()
	}
	x.align()
	x.skip(4 + 12) // the index's checksum and the footer
	return x.err
}

// xzDictionary checks a block header (section 3.1) from its second byte on.
func xzDictionary(h []byte, limit int64) error {
	unsupported := errors.New("only the LZMA2 filter is supported")
	flags, i := h[0], 1
	if flags&0x03 != 0 {
		return unsupported
	}
	for _, bit := range []byte{0x40, 0x80} { // sizes that may follow
		if flags&bit == 0 {
			continue
		}
		for i < len(h) && h[i]&0x80 != 0 {
			i++
		}
		i++
	}
	if i+3 > len(h) || h[i] != 0x21 || h[i+1] != 1 {
		return unsupported
	}
	code := int64(h[i+2])
	if code > 40 {
		return errors.New("the dictionary's size is not valid")
	}
	size := (2 | code&1) << (code/2 + 11)
	if size > limit {
		return fmt.Errorf("the dictionary has %d bytes, at most %d are allowed; use a lower compression level", size, limit)
	}
	return nil
}

// chunks skips the LZMA2 chunks of a block.
func (x *xzWalker) chunks() {
	for x.err == nil {
		switch control := x.read(1)[0]; {
		case control == 0:
			return
		case control == 1 || control == 2: // not compressed
			size := x.read(2)
			x.skip(int64(binary.BigEndian.Uint16(size)) + 1)
		case control >= 0x80:
			sizes := x.read(4)
			if control >= 0xc0 {
				x.skip(1) // properties
			}
			x.skip(int64(binary.BigEndian.Uint16(sizes[2:])) + 1)
		default:
			x.err = errors.New("not an LZMA2 chunk")
		}
	}
}
