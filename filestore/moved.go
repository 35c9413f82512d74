package filestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"statiko/state"
)

// Marker says that the state in a file was moved to somewhere else, so that the file is no longer in force. It
// stands beside the document as "<document>.migrated".
type Marker struct {
	// Time is when the state was moved.
	Time time.Time `json:"time"`
	// Target says, for people, where to.
	Target string `json:"target"`
	// TargetID is the id of the state there; "" if it has none, as in a file.
	TargetID string `json:"targetId,omitempty"`
	// KeyID names the key that sealed the secrets of the file.
	KeyID string `json:"keyId,omitempty"`
	// Revision and Digest are the file's when it was moved; see [Digest].
	Revision int64  `json:"revision"`
	Digest   string `json:"digest"`
}

// MovedError says that a file is not in force.
type MovedError struct {
	// Path is the document's.
	Path string
	Marker
	// Changed tells that the file is not as it was when its state was moved.
	Changed bool
}

func (e *MovedError) Error() string {
	changed := ""
	if e.Changed {
		changed = " The file was changed since."
	}
	return fmt.Sprintf("the state in %s was moved to %s on %s, and this file is no longer in force: name the new place in the configuration.%s"+
		" To move it back: stkcli state migrate --from CONFIG-OF-THE-NEW-PLACE --to THIS-CONFIG."+
		" To go on with what this file has, and without all changes made there since, remove %s",
		e.Path, e.Target, e.Time.UTC().Format("2006-01-02 15:04:05 UTC"), changed, e.Path+suffixMarker)
}

// suffixMarker makes the marker's name.
const suffixMarker = ".migrated"

// Digest returns the SHA-256 of the snapshot's document without the id of the encryption key, in hexadecimal: equal
// for equal objects, wherever they are kept.
func Digest(s *state.Snapshot) (string, error) {
	b := s.Build()
	head := s.Head()
	head.KeyID = ""
	b.SetHead(head)
	sum := sha256.New()
	if err := b.Snapshot(s.Revision()).WriteDocument(sum, state.DocumentOptions{}); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// readMarker returns the document's marker; nil if there is none. One that cannot be read is an error: it is there
// for a reason.
func readMarker(fsys FS, path string) (*Marker, error) {
	data, _, err := readFile(fsys, path+suffixMarker)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the file that says where the state was moved to: %w", err)
	}
	m := &Marker{}
	if err := json.Unmarshal(data, m); err != nil || m.Target == "" {
		return nil, fmt.Errorf("%s says that the state was moved, but not where to; remove it if the state file is to be used", path+suffixMarker)
	}
	return m, nil
}

// refuse returns the error for a file with the marker.
func (m *Marker) refuse(path string, s *state.Snapshot) error {
	digest, err := Digest(s)
	if err != nil {
		return err
	}
	return &MovedError{Path: path, Marker: *m, Changed: digest != m.Digest}
}

// writeMarker makes the marker durable.
func (d *disk) writeMarker(m Marker) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return err
	}
	name := d.path + suffixMarker
	f, err := d.writeNew(name+".new", func(w io.Writer) error {
		_, err := w.Write(b.Bytes())
		return err
	})
	if err != nil {
		return err
	}
	f.Close()
	if err := d.fs.Rename(name+".new", name); err != nil {
		d.discard(name + ".new")
		return err
	}
	return d.fs.SyncDir(d.folder)
}

// MarkMoved notes beside the file that its state is somewhere else from now on. It refuses with
// [state.ErrPrecondition] if the newest snapshot does not have the marker's revision. The store itself goes on; who
// calls it sees to it that nothing is changed any more. After an error the marker may be there: see [Store.Moved].
func (s *Store) MarkMoved(m Marker) error {
	if now := s.Snapshot().Revision(); now != m.Revision {
		return changedMeanwhile(now, m.Revision)
	}
	return s.disk.writeMarker(m)
}

func changedMeanwhile(now, then int64) error {
	return state.Errorf(state.ErrPrecondition, state.Key{}, "", "the state was changed meanwhile: it has revision %d, not %d", now, then)
}

// Moved returns where the state was moved to; nil if it was not.
func (s *Store) Moved() (*Marker, error) { return readMarker(s.disk.fs, s.disk.path) }

// ForgetMoved removes the marker, so that the file is in force again.
func (s *Store) ForgetMoved() error {
	err := s.disk.fs.Remove(s.disk.path + suffixMarker)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.disk.fs.SyncDir(s.disk.folder)
}
