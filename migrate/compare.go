package migrate

import (
	"bytes"
	"fmt"
	"strings"

	"statiko/secret"
	"statiko/state"
)

// text returns the snapshot's document without the id of the key, which is the store's and not the objects'.
func text(s *state.Snapshot) ([]byte, error) {
	b := s.Build()
	head := s.Head()
	head.KeyID = ""
	b.SetHead(head)
	var w bytes.Buffer
	if err := b.Snapshot(s.Revision()).WriteDocument(&w, state.DocumentOptions{}); err != nil {
		return nil, fmt.Errorf("write the state document: %w", err)
	}
	return w.Bytes(), nil
}

// documentOf returns the snapshot's document, read as strictly as a restore reads it.
func documentOf(s *state.Snapshot) (*state.Document, error) {
	var w bytes.Buffer
	if err := s.WriteDocument(&w, state.DocumentOptions{}); err != nil {
		return nil, fmt.Errorf("write the state document: %w", err)
	}
	return state.ParseDocument(w.Bytes())
}

func sameObject(a, b state.Object) bool {
	x, errX := a.MarshalJSON()
	y, errY := b.MarshalJSON()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// difference says where two documents begin to differ. It shows no content: there may be secrets.
func difference(a, b []byte) string {
	line := 1
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d differs", line)
		}
		if a[i] == '\n' {
			line++
		}
	}
	return fmt.Sprintf("one has %d bytes, the other %d", len(a), len(b))
}

// occupied says what of a snapshot would be missed; "" if there is nothing.
func occupied(s *state.Snapshot) string {
	var parts []string
	if n := s.Len(state.KindSite); n > 0 {
		parts = append(parts, plural(n, "site"))
	}
	imported := 0
	for range s.Secrets(state.PrefixImported) {
		imported++
	}
	if imported > 0 {
		parts = append(parts, plural(imported, "imported certificate"))
	}
	return strings.Join(parts, " and ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkKeys makes sure that whoever uses the target can open what the source can. It returns the names of secrets
// that neither opens.
func checkKeys(s *state.Snapshot, from, to *secret.Keyring) (damaged []string, err error) {
	if id := s.Head().KeyID; id != "" && !to.Knows(id) {
		return nil, refuse("use the same secretsEncryptionKey in both configurations, or name the first one's in secretsEncryptionOldKeys of the second",
			"the state is sealed with the encryption key %s; the target's configuration has %s", id, strings.Join(to.IDs(), ", "))
	}
	var foreign []string
	for o := range s.Secrets("") {
		if _, err := to.Open(o.Sealed); err == nil {
			continue
		}
		if _, err := from.Open(o.Sealed); err == nil {
			foreign = append(foreign, o.Name)
		} else {
			damaged = append(damaged, o.Name)
		}
	}
	if len(foreign) > 0 {
		return nil, refuse("name all keys of the source's configuration in secretsEncryptionOldKeys of the target's",
			"%s cannot be opened with the keys of the target's configuration, such as %s", plural(len(foreign), "secret"), foreign[0])
	}
	return damaged, nil
}
