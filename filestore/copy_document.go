package filestore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"statiko/state"
)

// writeDocument writes a copy's document to a new file: the state document, and a line with its sum.
func (c *Copy) writeDocument(name string, s *state.Snapshot, member json.RawMessage) (written, error) {
	sum, digest := sha256.New(), ""
	f, err := c.disk.writeNew(name, func(w io.Writer) error {
		if err := s.WriteDocument(io.MultiWriter(w, sum), state.DocumentOptions{Extra: map[string]json.RawMessage{memberCopy: member}}); err != nil {
			return err
		}
		digest = hex.EncodeToString(sum.Sum(nil))
		line, err := appendLine(nil, digest)
		if err != nil {
			return err
		}
		_, err = w.Write(line)
		return err
	})
	if err != nil {
		return written{}, err
	}
	return c.disk.finish(f, name, s.Revision(), digest)
}

func writeNothing(io.Writer) error { return nil }
