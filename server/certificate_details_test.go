package server

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"statiko/api"
	"statiko/certs"
	"statiko/state"
)

func TestCertificateDetails(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.get("/certificate?details=1").want(200).same("[]")
	cert, key := pair(t, certs.Request{Names: []string{"shop.example.org", "www.shop.example.org"}, KeyType: certs.KeyRSA2048, Life: 12*24*time.Hour + time.Hour})
	tag := n.post("/certificate", api.CertificateImport{Name: "shop", Certificate: cert, Key: key}).want(204).header.Get("ETag")
	old, oldKey := pair(t, certs.Request{Names: []string{"old.example.org"}, Now: time.Now().Add(-48 * time.Hour), Life: 24*time.Hour + time.Minute})
	n.post("/certificate", api.CertificateImport{Name: "old", Certificate: old, Key: oldKey, Force: true}).want(204)
	for _, domain := range []string{"shop.example.org", "b.example.org"} {
		n.post("/site", `{"domain":"`+domain+`","tls":{"type":"imported","cert":"shop"}}`).want(200)
	}
	if _, err := n.store.Update(t.Context(), func(d *state.Draft) error {
		return d.Put(&state.Secret{Name: state.PrefixImported + "broken", Sealed: []byte("x")})
	}); err != nil {
		t.Fatal(err)
	}
	n.get("/certificate").want(200).same(`["broken","old","shop"]`)
	n.get("/certificate?details=0").want(200).same(`["broken","old","shop"]`)

	a := n.get("/certificate?details=1").want(200)
	var list []api.CertificateDetails
	a.into(&list)
	if len(list) != 3 {
		t.Fatalf("%s", a.body)
	}
	broken, gone, shop := list[0], list[1], list[2]
	if broken.Name != "broken" || broken.Error == "" || broken.NotAfter != nil || broken.DaysLeft != nil {
		t.Errorf("%+v", broken)
	}
	if gone.Name != "old" || gone.DaysLeft == nil || *gone.DaysLeft != -1 || gone.Sites != nil {
		t.Errorf("%+v", gone)
	}
	if shop.DaysLeft == nil || *shop.DaysLeft != 12 || shop.KeyType != "RSA 2048" || !strings.Contains(shop.Issuer, certs.Organisation) ||
		!slices.Equal(shop.Names, []string{"shop.example.org", "www.shop.example.org"}) ||
		!slices.Equal(shop.Sites, []string{"b.example.org", "shop.example.org"}) || shop.NotAfter.Sub(*shop.NotBefore) != 12*24*time.Hour+2*time.Hour {
		t.Errorf("%+v", shop)
	}
	if tag == "" || shop.ETag != tag || broken.ETag == "" {
		t.Errorf("tags %q and %q, at the import %q", shop.ETag, broken.ETag, tag)
	}
	if strings.Contains(string(a.body), "PRIVATE") {
		t.Error("a key is shown")
	}
	n.do(request{path: "/certificate?details=1", anonymous: true}).fails(api.CodeUnauthorized)
}

// W56: in the earlier program nothing kept a site from starting to use a certificate while it was removed.
func TestW56_CertificateIsNotRemovedWhileASiteBeginsToUseIt(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	cert, key := pair(t, certs.Request{Names: []string{"example.org"}})
	both := [2]int{}
	for i := range 40 {
		name, domain := fmt.Sprintf("c%d", i), fmt.Sprintf("s%d.example.org", i)
		n.post("/certificate", api.CertificateImport{Name: name, Certificate: cert, Key: key}).want(204)
		var wg sync.WaitGroup
		var removed, used int
		wg.Go(func() { removed = n.do(request{method: "DELETE", path: "/certificate/" + name}).status })
		wg.Go(func() {
			used = n.post("/site", `{"domain":"`+domain+`","tls":{"type":"imported","cert":"`+name+`"}}`).status
		})
		wg.Wait()
		_, stored := n.store.Snapshot().Object(state.ImportedCertificateKey(name))
		switch {
		case removed == 204 && used != 200 && !stored:
			both[0]++
		case removed == 409 && used == 200 && stored:
			both[1]++
		default:
			t.Fatalf("removal answered %d, use %d, the certificate is stored: %v", removed, used, stored)
		}
	}
	t.Logf("the removal was first %d times, the use %d times", both[0], both[1])
}
