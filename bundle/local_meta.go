package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

const (
	metaPrefix = ".metadata."
	maxMeta    = 64 << 10 // bytes; three short strings
)

func (l *Local) metaPath(name string) string { return filepath.Join(l.dir, metaPrefix+name) }

// readMeta returns what is stored beside an archive, and the members that this version does not know. Nothing
// stored is no error. Without a stored type, the name's ending says it.
func (l *Local) readMeta(name string) (meta Meta, others map[string]string, err error) {
	defer func() {
		if meta.Type == "" {
			meta.Type, _ = TypeOfFile(name)
		}
	}()
	f, err := os.Open(l.metaPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return meta, nil, nil
	}
	if err != nil {
		return meta, nil, fmt.Errorf("metadata: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMeta+1))
	if err != nil {
		return meta, nil, fmt.Errorf("metadata: %w", err)
	}
	if len(data) > maxMeta {
		return meta, nil, fmt.Errorf("metadata: %s has more than %d bytes", filepath.Base(f.Name()), maxMeta)
	}
	if len(data) == 0 {
		return meta, nil, nil
	}
	if err := json.Unmarshal(data, &others); err != nil {
		return meta, nil, fmt.Errorf("metadata: %s is not a JSON object of strings: %w", filepath.Base(f.Name()), err)
	}
	meta = MetaFrom(func(key string) string { return others[key] })
	return meta, others, nil
}

// writeMeta replaces what is stored beside an archive and keeps the members that this version does not know.
func (l *Local) writeMeta(name string, others map[string]string, meta Meta) error {
	members := map[string]string{}
	maps.Copy(members, others)
	for _, key := range MetaKeys() {
		delete(members, key)
	}
	maps.Copy(members, meta.Members())
	if err := writeJSON(l.metaPath(name), uploadPrefix+"*", members, 0o644); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}
