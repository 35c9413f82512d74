package server

import (
	"fmt"
	"strings"

	"statiko/api"
	"statiko/secret"
	"statiko/state"
)

// openedSecret is a secret of a document that another key than the current one opened.
type openedSecret struct {
	secret *state.Secret
	plain  []byte
}

// sourceKey returns the keyring that opens a document's secrets besides the node's own: that of the key which was
// sent with it, nil if there is none.
func sourceKey(c *call) (*secret.Keyring, error) {
	text := c.r.Header.Get(api.HeaderSourceKey)
	if text == "" {
		return nil, nil
	}
	ring, err := secret.NewKeyring(text)
	if err != nil {
		return nil, invalid("the request", fault(api.HeaderSourceKey, "%v", err)) // which does not tell of the key
	}
	return ring, nil
}

// openDocument makes sure, before anything changes, that every secret of a document can be opened: with this node's
// keys, or with the one that was sent with it. It returns those that were not sealed with the current key.
func (s *Server) openDocument(c *call, doc *state.Document) (old []openedSecret, err error) {
	source, err := sourceKey(c)
	if err != nil {
		return nil, err
	}
	if doc.KeyID != "" && !s.Keyring.Knows(doc.KeyID) && (source == nil || !source.Knows(doc.KeyID)) {
		e := api.Errorf(api.CodeForeignKey, "the document is sealed with the encryption key %s, and this node has %s; "+
			"add the document's key to secretsEncryptionOldKeys, or seal it again with stkcli state set --source-key",
			printable(doc.KeyID), strings.Join(s.Keyring.IDs(), ", "))
		e.Details = []api.Detail{{Field: "keyId", Message: "names a key that this node does not have"}}
		return nil, e
	}
	var faults []state.Fault
	for _, o := range doc.Objects(state.KindSecret) {
		sealed, ok := o.(*state.Secret)
		if !ok {
			continue
		}
		plain, id, err := s.Keyring.OpenID(sealed.Sealed)
		if err != nil && source != nil {
			plain, id, err = source.OpenID(sealed.Sealed)
		}
		switch {
		case err != nil:
			faults = append(faults, fault(fmt.Sprintf("secrets[%q]", sealed.Name), "%v", err))
		case id != s.Keyring.ID():
			old = append(old, openedSecret{sealed, plain})
		}
	}
	if len(faults) > 0 {
		return nil, invalid("state document", faults...)
	}
	return old, nil
}

// reseal seals with the current key what another one sealed, so that the restored state needs one key only and says
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
