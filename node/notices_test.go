package node

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/certs"
)

// A certificate that expires soon is told to the webhook of the configuration, once, with an id to know it by.
func TestNode_TellsThatACertificateExpires(t *testing.T) {
	told := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var payload map[string]string
		if err := json.Unmarshal(body, &payload); err != nil || r.Header.Get("X-STK-Event-Id") == "" {
			t.Errorf("the webhook got %q (%v), event %q", body, err, r.Header.Get("X-STK-Event-Id"))
		}
		told <- payload["text"]
	}))
	defer hook.Close()
	n := start(t, t.TempDir(), "webserver: builtin=>webserver: builtin\nnotifications: {method: webhook, webhook: {url: '"+hook.URL+"', payloadKey: text}}")
	cert, key, err := certs.SelfSigned(certs.Request{Names: []string{"bank.test"}, Life: 50 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	n.ok(n.client.ImportCertificate(n.ctx(), api.CertificateImport{Name: "bank", Certificate: string(cert), Key: string(key)}))
	if _, err := n.client.CreateSite(n.ctx(), api.SiteCreate{
		Domain: "bank.test", TLS: &api.SiteTLS{Type: "imported", Certificate: "bank"},
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-told:
		if !strings.HasPrefix(text, "[statiko] (") || !strings.Contains(text, "bank.test") || !strings.Contains(text, "expires in 3 days") {
			t.Errorf("told %q", text)
		}
	case <-time.After(patience):
		t.Fatal("nothing was told")
	}
	select {
	case text := <-told:
		t.Errorf("told once more: %q", text)
	case <-time.After(300 * time.Millisecond): // that nothing more comes can only be waited for
	}
}
