package state

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// App is one bundle: what its archive is and hashes to. The bytes are in the repository. A bundle's content never
// changes under its name.
type App struct {
	Name string
	// Type is the archive's format, such as "tar.gz".
	Type string
	// Size is the archive's, in bytes.
	Size int64
	// SHA256 is the archive's digest, 64 hexadecimal digits.
	SHA256 string
	// Signature is base64, as uploaded; "" for none.
	Signature string
	// Uploaded is the modification time of everything in the bundle: whole seconds, different for each bundle.
	Uploaded time.Time

	extra extras
}

// Key returns the bundle's key.
func (a *App) Key() Key { return Key{KindApp, a.Name} }

// Clone returns a copy that may be changed.
func (a *App) Clone() *App { c := *a; return &c }

type appJSON struct {
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Size      int64     `json:"size"`
	SHA256    string    `json:"sha256"`
	Signature string    `json:"signature,omitempty"`
	Uploaded  time.Time `json:"uploaded"`
}

// MarshalJSON writes the bundle as in the state document.
func (a *App) MarshalJSON() ([]byte, error) {
	return a.extra.encode(appJSON{a.Name, a.Type, a.Size, a.SHA256, a.Signature, a.Uploaded.UTC()})
}

func decodeApp(_ string, data []byte) (Object, error) {
	a := &App{}
	var err error
	a.extra, err = decodeMembers(data, map[string]any{
		"name": &a.Name, "type": &a.Type, "size": &a.Size, "sha256": &a.SHA256,
		"signature": &a.Signature, "uploaded": &a.Uploaded,
	})
	return a, err
}

func (a *App) normalize() []Fault {
	var faults []Fault
	if n, err := CheckAppName(a.Name); err != nil {
		faults = append(faults, Fault{Field: "name", Message: err.Error()})
	} else {
		a.Name = n
	}
	if b, err := hex.DecodeString(a.SHA256); err != nil || len(b) != 32 {
		faults = append(faults, Fault{Field: "sha256", Message: "is not 64 hexadecimal digits"})
	}
	a.SHA256 = strings.ToLower(a.SHA256)
	if a.Type == "" {
		faults = append(faults, Fault{Field: "type", Message: "is missing"})
	}
	if a.Size < 0 {
		faults = append(faults, Fault{Field: "size", Message: "is negative"})
	}
	a.Uploaded = a.Uploaded.UTC().Truncate(time.Second)
	if y := a.Uploaded.Year(); y < 0 || y > 9999 {
		// RFC 3339 has no more, and the time zone may have moved it over the end.
		faults = append(faults, Fault{Field: "uploaded", Message: "is not a time of the years 0 to 9999"})
	}
	return faults
}

// Secret is a sealed value. Package secret opens it.
type Secret struct {
	Name   string
	Sealed []byte
}

// MaxSecret is the size of a sealed value in bytes: a packed pair of the largest key and chain.
const MaxSecret = 512 << 10

// Prefixes of secrets' names.
const (
	PrefixImported   = "cert/imported/"
	PrefixSelfSigned = "cert/selfsigned/"
	PrefixACME       = "cert/acme/"
	PrefixChallenge  = "acme/challenges/"
)

// ImportedCertificateKey returns the key of the secret that holds an imported certificate.
func ImportedCertificateKey(name string) Key { return Key{KindSecret, PrefixImported + name} }

// Key returns the secret's key.
func (s *Secret) Key() Key { return Key{KindSecret, s.Name} }

// MarshalJSON writes the sealed bytes as base64, which is how they stand in the state document.
func (s *Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.Sealed) }

func decodeSecret(name string, data []byte) (Object, error) {
	s := &Secret{Name: name}
	if err := json.Unmarshal(data, &s.Sealed); err != nil {
		return nil, fmt.Errorf("is not base64 text")
	}
	return s, nil
}

func (s *Secret) check() []Fault {
	if err := checkSecretName(s.Name); err != nil {
		return []Fault{{Message: err.Error()}}
	}
	if len(s.Sealed) > MaxSecret {
		return []Fault{{Message: fmt.Sprintf("has %d bytes; at most %d are possible", len(s.Sealed), MaxSecret)}}
	}
	return nil
}

// DHParams are the cluster's own Diffie-Hellman parameters.
type DHParams struct {
	// Time is when they were made or set.
	Time time.Time
	// PEM is a block "DH PARAMETERS".
	PEM string

	extra extras
}

// Key returns the one key of this kind.
func (d *DHParams) Key() Key { return Key{Kind: KindDHParams} }

// MarshalJSON writes the parameters as in the state document.
func (d *DHParams) MarshalJSON() ([]byte, error) {
	return d.extra.encode(struct {
		Time time.Time `json:"time"`
		PEM  string    `json:"pem"`
	}{d.Time, d.PEM})
}

func decodeDHParams(_ string, data []byte) (Object, error) {
	d := &DHParams{}
	var err error
	d.extra, err = decodeMembers(data, map[string]any{"time": &d.Time, "pem": &d.PEM})
	return d, err
}

// Quarantined is an object that broke a rule when its file was loaded. It is kept as it was, and not served.
type Quarantined struct {
	// Name is unique: the kind and a name of the faulty object.
	Name string
	// Kind and Object are the faulty object's kind and name.
	Kind   Kind
	Object string
	// Reason says what is wrong.
	Reason string
	// Raw is the faulty object's JSON.
	Raw json.RawMessage
}

// Key returns the quarantined object's key.
func (q *Quarantined) Key() Key { return Key{KindQuarantine, q.Name} }

type quarantinedJSON struct {
	Name   string          `json:"name"`
	Kind   Kind            `json:"kind"`
	Object string          `json:"object"`
	Reason string          `json:"reason"`
	Raw    json.RawMessage `json:"raw"`
}

// MarshalJSON writes the quarantined object as in the state document.
func (q *Quarantined) MarshalJSON() ([]byte, error) {
	return marshal(quarantinedJSON(*q))
}

func decodeQuarantined(_ string, data []byte) (Object, error) {
	var q quarantinedJSON
	if err := json.Unmarshal(data, &q); err != nil {
		return nil, err
	}
	r := Quarantined(q)
	return &r, nil
}

// Record is an object of a kind outside the document (member, event, audit, challenge): JSON under a name.
type Record struct {
	Kind Kind
	Name string
	Data json.RawMessage
}

// Key returns the record's key.
func (r *Record) Key() Key { return Key{r.Kind, r.Name} }

// MarshalJSON returns the record's data.
func (r *Record) MarshalJSON() ([]byte, error) { return r.Data, nil }

func decodeRecord(kind Kind) func(string, []byte) (Object, error) {
	return func(name string, data []byte) (Object, error) {
		if !json.Valid(data) {
			return nil, fmt.Errorf("is not JSON")
		}
		return &Record{Kind: kind, Name: name, Data: append(json.RawMessage(nil), data...)}, nil
	}
}

// nameEntry is one entry of the unique index.
type nameEntry struct {
	name, domain string
}

func (n *nameEntry) Key() Key                     { return Key{KindName, n.name} }
func (n *nameEntry) MarshalJSON() ([]byte, error) { return json.Marshal(n.domain) }

func decodeName(name string, data []byte) (Object, error) {
	n := &nameEntry{name: name}
	return n, json.Unmarshal(data, &n.domain)
}

// guardEntry is the guard of an object that others can use. Only its revision matters.
type guardEntry struct{ name string }

func (g *guardEntry) Key() Key                     { return Key{KindGuard, g.name} }
func (g *guardEntry) MarshalJSON() ([]byte, error) { return []byte("1"), nil }

func decodeGuard(name string, _ []byte) (Object, error) { return &guardEntry{name}, nil }

// normalize brings any object into its stored form and returns its faults.
func normalize(o Object) []Fault {
	switch o := o.(type) {
	case *Site:
		return o.Normalize()
	case *App:
		return o.normalize()
	case *Secret:
		return o.check()
	case *DHParams:
		if o.PEM == "" {
			return []Fault{{Field: "pem", Message: "is missing"}}
		}
	case *Record:
		switch {
		case o.Kind.InDocument():
			return []Fault{{Message: fmt.Sprintf("objects of kind %q are not records", o.Kind)}}
		case o.Name == "" || !utf8.ValidString(o.Name):
			return []Fault{{Message: "has no name, or one that is not valid UTF-8"}}
		case !json.Valid(o.Data):
			return []Fault{{Message: "is not JSON"}}
		}
	}
	return nil
}
