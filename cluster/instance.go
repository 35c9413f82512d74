package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// InstanceID returns the id that is kept in the file, a random UUID (RFC 9562, version 4) that is made at first. The
// file is the node's own and goes with its data: a copy of it makes two nodes look like one. A file that holds
// something else is an error, and left as it is.
func InstanceID(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := newUUID()
		return id, writeNew(path, id+"\n")
	}
	if err != nil {
		return "", fmt.Errorf("the node's instance id: %w", err)
	}
	id := strings.TrimSpace(string(data))
	if !uuidText.MatchString(id) {
		return "", fmt.Errorf("the node's instance id: %s holds none; remove the file, and the node gets a new one", path)
	}
	return id, nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails, says crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// writeNew makes the file, whole or not at all, readable by its owner only.
func writeNew(path, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".instance-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the node's instance id: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keep the node's instance id: %w", err), os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil // it is there; only a power cut could still undo it
	}
	return errors.Join(dir.Sync(), dir.Close())
}
