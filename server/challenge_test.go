package server

import (
	"testing"

	"statiko/api"
	"statiko/state"
)

func TestACMEChallenge(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *Options) { o.NodeName = "node.example.net" })
	n.site("docs.example.org", "www.docs.example.org")
	n.site("other.example.org")
	put := func(token, record string, keyed bool) {
		sealed := []byte(record)
		if keyed {
			var err error
			if sealed, err = n.keyring.Seal(sealed); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.store.Update(t.Context(), func(d *state.Draft) error {
			return d.Put(&state.Secret{Name: state.PrefixChallenge + token, Sealed: sealed})
		}); err != nil {
			t.Fatal(err)
		}
	}
	put("site", "www.docs.example.org|site.auth", true)
	put("node", "node.example.net|node.auth", true)
	put("damaged", "x", false)
	put("odd", "no bar", true)
	ask := func(token, host string, header map[string]string) *answer {
		if header == nil {
			header = map[string]string{"Host": host}
		}
		return n.do(request{method: "GET", path: "/.well-known/acme-challenge/" + token, header: header, public: true})
	}
	for _, host := range []string{"docs.example.org", "WWW.docs.example.org", "docs.example.org:80"} {
		a := ask("site", host, nil).want(200).same("site.auth")
		if ct := a.header.Get("Content-Type"); ct != "text/plain" {
			t.Errorf("type %q", ct)
		}
	}
	ask("site", "", map[string]string{"Host": "127.0.0.1:2265", "X-Forwarded-Host": "docs.example.org"}).want(200).same("site.auth")
	ask("node", "node.example.net", nil).want(200).same("node.auth")
	ask("site", "other.example.org", nil).fails(api.CodeForbidden)
	ask("site", "unknown.example.org", nil).fails(api.CodeForbidden)
	ask("site", "node.example.net", nil).fails(api.CodeForbidden)
	ask("node", "docs.example.org", nil).fails(api.CodeForbidden)
	ask("odd", "docs.example.org", nil).fails(api.CodeForbidden)
	ask("none", "docs.example.org", nil).fails(api.CodeForbidden)
	ask("..%2fcert", "docs.example.org", nil).fails(api.CodeForbidden)
	ask("damaged", "docs.example.org", nil).fails(api.CodeNotFound)
	ask("site", "127.0.0.1", nil).fails(api.CodeMalformed)
}
