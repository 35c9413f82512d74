package server

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/certs"
	"statiko/secret"
	"statiko/state"
)

func mustRequest(t *testing.T) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), "GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.get("/certificate").want(200).same("[]")
	n.certificate("wildcard-2020")
	n.certificate("Shop")
	n.get("/certificate").want(200).same(`["shop","wildcard-2020"]`)

	sealed, ok := n.store.Snapshot().Secret("cert/imported/shop")
	if !ok {
		t.Fatal("the certificate is not in the state")
	}
	packed, err := n.keyring.Open(sealed.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	if key, cert, err := secret.UnpackPair(packed); err != nil || !strings.Contains(string(key), "PRIVATE KEY") || !strings.Contains(string(cert), "CERTIFICATE") {
		t.Errorf("the secret is not a packed pair: %v", err)
	}

	n.post("/site", `{"domain":"docs.example.org","tls":{"type":"imported","cert":"shop"}}`).want(200)
	remove := func(name string) *answer { return n.do(request{method: "DELETE", path: "/certificate/" + name}) }
	remove("shop").fails(api.CodeInUse)
	remove("SHOP").fails(api.CodeInUse)
	remove("none").fails(api.CodeNotFound)
	remove("..%2fselfsigned%2fx").fails(api.CodeNotFound)
	n.do(request{method: "DELETE", path: "/certificate/wildcard-2020", header: map[string]string{"If-Match": `"9-9"`}}).fails(api.CodePrecondition)
	remove("Wildcard-2020").want(204)
	n.do(request{method: "DELETE", path: "/site/docs.example.org"}).want(204)
	remove("shop").want(204)
}

func TestImportCertificate_Form(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	cert, key := pair(t, certs.Request{Names: []string{"example.org"}})
	values := url.Values{"name": {"form"}, "cert": {cert}, "key": {key}, "force": {"false"}}
	n.do(request{method: "POST", path: "/certificate", body: values.Encode(), contentType: "application/x-www-form-urlencoded"}).want(204)
	multi, contentType := form(t, part{"name", "multi"}, part{"cert", cert}, part{"key", key}, part{"force", "true"})
	n.do(request{method: "POST", path: "/certificate", body: multi, contentType: contentType}).want(204)
	values.Set("force", "perhaps")
	n.do(request{method: "POST", path: "/certificate", body: values.Encode(), contentType: "application/x-www-form-urlencoded"}).fails(api.CodeInvalid, "force")
	n.get("/certificate").same(`["form","multi"]`)
}

func TestImportCertificate_EveryReasonAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	cert, key := pair(t, certs.Request{Names: []string{"example.org"}})
	expired, expiredKey := pair(t, certs.Request{Names: []string{"old.example.org"}, Now: time.Now().Add(-48 * time.Hour), Life: 24 * time.Hour})
	type c = api.CertificateImport
	for why, test := range map[string]struct {
		body   c
		fields []string
	}{
		"nothing":                   {c{}, []string{"name", "cert", "key"}},
		"no key":                    {c{Name: "x", Certificate: cert}, []string{"key"}},
		"bad name, no PEM":          {c{Name: "9/x", Certificate: "x", Key: "y"}, []string{"name", "cert", "key"}},
		"the other way round":       {c{Name: "x", Certificate: key, Key: cert}, []string{"cert", "key"}},
		"W18 another's key":         {c{Name: "x", Certificate: cert, Key: expiredKey}, []string{"key"}},
		"W18 forced":                {c{Name: "x", Certificate: cert, Key: expiredKey, Force: true}, []string{"key"}},
		"expired":                   {c{Name: "x", Certificate: expired, Key: expiredKey}, []string{"cert"}},
		"expired, another's key":    {c{Name: "x", Certificate: expired, Key: key}, []string{"key", "cert"}},
		"longer than can be stored": {c{Name: "x", Certificate: cert + strings.Repeat("\n", secret.MaxPairPart), Key: key}, []string{"cert"}},
	} {
		t.Run(why, func(t *testing.T) {
			a := n.in(t).post("/certificate", test.body)
			a.fails(api.CodeInvalid, test.fields...)
			if strings.Contains(string(a.body), "PRIVATE KEY-----") {
				t.Errorf("the answer shows a key: %s", a.body)
			}
		})
	}
	n.get("/certificate").same("[]")
	n.post("/certificate", c{Name: "old", Certificate: expired, Key: expiredKey, Force: true}).want(204)
	n.do(request{method: "POST", path: "/certificate", body: c{Name: "new", Certificate: cert, Key: key}, header: map[string]string{"If-Match": "*"}}).fails(api.CodePrecondition)
}

// A certificate in use is never replaced by one that no web server can load.
func TestW18_CertificateInUseStaysGood(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.certificate("shop")
	n.post("/site", `{"domain":"docs.example.org","tls":{"type":"imported","cert":"shop"}}`).want(200)
	before, _ := n.store.Snapshot().Object(state.ImportedCertificateKey("shop"))
	cert, _ := pair(t, certs.Request{Names: []string{"a.example.org"}})
	_, key := pair(t, certs.Request{Names: []string{"a.example.org"}})
	n.post("/certificate", api.CertificateImport{Name: "shop", Certificate: cert, Key: key, Force: true}).fails(api.CodeInvalid, "key")
	if after, _ := n.store.Snapshot().Object(state.ImportedCertificateKey("shop")); after != before {
		t.Error("the certificate was replaced")
	}
}
