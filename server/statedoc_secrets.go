package server

import (
	"fmt"
	"strings"

	"statiko/api"
	"statiko/state"
)

// openedSecret is a secret of a document that an old key opened.
type openedSecret struct {
	secret *state.Secret
	plain  []byte
}

// openDocument makes sure, before anything changes, that this node can open every secret of a document. It returns
// those that were sealed with an old key.
func (s *Server) openDocument(doc *state.Document) (old []openedSecret, err error) {
	if doc.KeyID != "" && !s.Keyring.Knows(doc.KeyID) {
		e := api.Errorf(api.CodeForeignKey, "the document is sealed with the encryption key %s, and this node has %s; "+
			"add the document's key to secretsEncryptionOldKeys, or seal it again with stkcli state set --source-key",
			printable(doc.KeyID), strings.Join(s.Keyring.IDs(), ", "))
		e.Details = []api.Detail{{Field: "keyId", Message: "names a key that this node does not have"}}
		return nil, e
	}
	var faults []state.Fault
	for _, o := range doc.Objects(state.KindSecret) {
		secret, ok := o.(*state.Secret)
		if !ok {
			continue
		}
		plain, id, err := s.Keyring.OpenID(secret.Sealed)
		switch {
		case err != nil:
			faults = append(faults, fault(fmt.Sprintf("secrets[%q]", secret.Name), "%v", err))
		case id != s.Keyring.ID():
			old = append(old, openedSecret{secret, plain})
		}
	}
	if len(faults) > 0 {
		return nil, invalid("state document", faults...)
	}
	return old, nil
}

// reseal seals with the current key what an old one sealed, so that the restored state needs one key only and says
// which. The document is this request's own: nobody else has seen its objects yet.
func (s *Server) reseal(doc *state.Document, old []openedSecret) error {
	for _, o := range old {
		sealed, err := s.Keyring.Seal(o.plain)
		if err != nil {
			return fmt.Errorf("seal %s: %w", o.secret.Name, err)
		}
		o.secret.Sealed = sealed
	}
	doc.KeyID = s.Keyring.ID()
	return nil
}
