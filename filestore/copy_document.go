package filestore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"statiko/state"
)

// writeDocument writes a copy's document to a new file: the state document, and a line with its sum. It returns the
// document's SHA-256 in hexadecimal and the length in bytes.
func (c *Copy) writeDocument(name string, s *state.Snapshot, member json.RawMessage) (digest string, size int64, err error) {
	sum := sha256.New()
	f, err := c.disk.writeNew(name, func(w io.Writer) error {
		counted := &countingWriter{w: io.MultiWriter(w, sum)}
		if err := s.WriteDocument(counted, state.DocumentOptions{Extra: map[string]json.RawMessage{memberCopy: member}}); err != nil {
			return err
		}
		size, digest = counted.n, hex.EncodeToString(sum.Sum(nil))
		line, err := appendLine(nil, digest)
		if err != nil {
			return err
		}
		_, err = w.Write(line)
		return err
	})
	if err != nil {
		return "", 0, err
	}
	return digest, size, f.Close()
}

func writeNothing(io.Writer) error { return nil }

// countingWriter counts what passes.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
