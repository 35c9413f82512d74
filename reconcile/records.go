package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// records remember on disk, for each site with a bundle, which one was last served well, so that a restart with a
// broken newer one still has it. They are hints: a lost one costs nothing but that.
type records struct {
	dir  string
	mu   sync.Mutex
	read bool
	all  map[string]record
}

// record is one file's content.
type record struct {
	Domain   string `json:"domain"`
	App      string `json:"app"`
	SHA256   string `json:"sha256"`
	Uploaded int64  `json:"uploaded"`
}

const recordSuffix = ".json"

// load reads the records once. Broken ones are passed over.
func (r *records) load() {
	if r.read {
		return
	}
	r.read, r.all = true, map[string]record{}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), recordSuffix) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(r.dir, e.Name()))
		var rec record
		if err == nil && json.Unmarshal(data, &rec) == nil && rec.SHA256 != "" {
			r.all[rec.Domain] = rec
		}
	}
}

func (r *records) get(domain string) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load()
	rec, ok := r.all[domain]
	return rec, ok
}

// digests returns the digests of all bundles that a record names.
func (r *records) digests() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load()
	set := map[string]bool{}
	for _, rec := range r.all {
		set[rec.SHA256] = true
	}
	return set
}

// keep notes what a site serves.
func (r *records) keep(domain string, c content) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load()
	rec := record{domain, c.app, c.sha256, c.uploaded}
	if r.all[domain] == rec {
		return nil
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	// A rename replaces the file whole; without fsync, as a lost record costs little.
	tmp := r.path(domain) + ".tmp"
	err = os.WriteFile(tmp, data, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(r.dir, 0o700); err == nil {
			err = os.WriteFile(tmp, data, 0o600)
		}
	}
	if err == nil {
		err = os.Rename(tmp, r.path(domain))
	}
	if err == nil {
		r.all[domain] = rec
	}
	return err
}

// forget drops what a site served.
func (r *records) forget(domain string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load()
	if _, ok := r.all[domain]; ok {
		delete(r.all, domain)
		// A file that stays is a stale hint, which the next keep replaces.
		_ = os.Remove(r.path(domain))
	}
}

// retain drops the records of all other domains: of sites that were removed while no node was running.
func (r *records) retain(keep func(domain string) bool) {
	r.mu.Lock()
	var gone []string
	r.load()
	for domain := range r.all {
		if !keep(domain) {
			gone = append(gone, domain)
		}
	}
	r.mu.Unlock()
	for _, domain := range gone {
		r.forget(domain)
	}
}

// path names the file by a digest: a domain may be too long for a file's name.
func (r *records) path(domain string) string {
	sum := sha256.Sum256([]byte(domain))
	return filepath.Join(r.dir, hex.EncodeToString(sum[:16])+recordSuffix)
}
