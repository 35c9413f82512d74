package objectstore

import (
	"crypto/rand"
	"fmt"
	"maps"
	"strings"

	"statiko/bundle"
)

// Stored is what an object store keeps beside a bundle's bytes.
type Stored struct {
	Meta bundle.Meta
	// Upload is the random mark of the upload that brought the bytes; "" for those of another program. It stays
	// when the rest is replaced, so it tells whether bytes are still the same, and, if the answer to an upload was
	// lost, whose they are.
	Upload string
	// Others are the members that this version does not know. They stay too.
	Others map[string]string
}

// uploadKey is where the mark is kept, beside the contract's keys. It has letters only, as Azure asks.
const uploadKey = "upload"

// NewUpload returns a mark.
func NewUpload() string { return rand.Text() }

// Decode reads the metadata of an object. Servers spell the keys in their own way, so they count in lower case.
// Without a stored type, the name's ending says it.
func Decode(name string, members map[string]string) Stored {
	others := make(map[string]string, len(members))
	for key, value := range members {
		others[strings.ToLower(key)] = value
	}
	s := Stored{Upload: others[uploadKey], Others: others}
	s.Meta = bundle.MetaFrom(func(key string) string { return others[key] })
	if s.Meta.Type == "" {
		s.Meta.Type, _ = bundle.TypeOfFile(name)
	}
	for _, key := range append(bundle.MetaKeys(), uploadKey) {
		delete(others, key)
	}
	return s
}

// Encode returns the metadata for an object.
func (s Stored) Encode() map[string]string {
	members := maps.Clone(s.Others)
	if members == nil {
		members = map[string]string{}
	}
	maps.Copy(members, s.Meta.Members())
	if s.Upload != "" {
		members[uploadKey] = s.Upload
	}
	return members
}

// CheckName returns an error unless the name is a bundle's in its stored form.
func CheckName(name string) error {
	stored, err := bundle.CheckName(name)
	if err == nil && stored != name {
		err = fmt.Errorf("%q must be lower case", name)
	}
	if err != nil {
		return fmt.Errorf("bundle name: %w", err)
	}
	return nil
}

// IsName tells whether an object can be a bundle.
func IsName(name string) bool { return CheckName(name) == nil }
