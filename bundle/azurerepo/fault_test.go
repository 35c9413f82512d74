package azurerepo

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"statiko/bundle"
	"statiko/bundle/repotest"
	"statiko/test/etcdtest"
	"statiko/test/objecttest"
)

// refused is how every call fails: with the key to look at, and without a secret.
func refused(t *testing.T, what string, o Options, want string) {
	t.Helper()
	o.Policy.Patience = 300 * time.Millisecond
	r := open(t, o)
	_, stat := r.Stat(t.Context(), "site")
	_, _, read := r.Open(t.Context(), "site", 0)
	_, list := r.List(t.Context())
	for call, err := range map[string]error{
		"Check": r.Check(t.Context()), "Stat": stat, "Open": read, "List": list,
		"Create": r.Create(t.Context(), "site", repotest.Upload(t, []byte("x")), bundle.Meta{}),
		"Remove": r.Remove(t.Context(), "site"), "SetMeta": r.SetMeta(t.Context(), "site", bundle.Meta{}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %s: %v; want %s, in one line", what, call, err, want)
			continue
		}
		for _, secret := range []string{o.AccessKey, o.ClientSecret} {
			if secret != "" && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %s: the error has a secret: %v", what, call, err)
			}
		}
	}
}

func faultsNameTheKey(t *testing.T, s objecttest.Azure) {
	good := options(t, s)

	o := good
	o.Container = "no-such-container"
	refused(t, "container", o, "repo.azure.container")
	o = good
	o.AccessKey = base64.StdEncoding.EncodeToString([]byte("a wrong key"))
	refused(t, "access key", o, "repo.azure.accessKey")
	o = good
	o.Endpoint = "http://" + closedPort(t) + "/" + o.Account
	refused(t, "nobody there", o, "repo.azure.endpoint")
	o = good
	o.Endpoint = strings.Replace(o.Endpoint, "http:", "https:", 1)
	refused(t, "TLS to a plain server", o, "repo.azure.endpoint")
	if err := open(t, good).Check(t.Context()); err != nil {
		t.Errorf("with nothing wrong: %v", err)
	}
}

// closedPort returns the address of a port that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestOpen_NeedsItsKeys(t *testing.T) {
	for _, o := range []Options{
		{Container: "c", AccessKey: "a2V5"}, {Account: "a", AccessKey: "a2V5"}, {Account: "a", Container: "c", AccessKey: "?"},
		{Account: "a", Container: "c"}, {Account: "a", Container: "c", TenantID: "t", ClientID: "c"},
	} {
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "azure.") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// The endpoint says whose tokens count.
func TestCloud(t *testing.T) {
	for endpoint, want := range map[string]string{
		"": "login.microsoftonline.com", "https://a.blob.core.chinacloudapi.cn": "login.chinacloudapi.cn",
		"https://a.blob.core.usgovcloudapi.net": "login.microsoftonline.us",
	} {
		r := open(t, Options{Account: "a", Container: "c", AccessKey: "a2V5", Endpoint: endpoint})
		if got := r.cloud().ActiveDirectoryAuthorityHost; !strings.Contains(got, want) {
			t.Errorf("%s: %s", endpoint, got)
		}
	}
}

// authority gives tokens to who knows the secret, as Entra ID does.
func authority(t *testing.T) *httptest.Server {
	const secret = "the-clients-secret"
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		base := "https://" + q.Host + "/tenant"
		switch {
		case strings.HasSuffix(q.URL.Path, "/.well-known/openid-configuration"):
			_ = json.NewEncoder(w).Encode(map[string]string{
				"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token", "authorization_endpoint": base + "/oauth2/v2.0/authorize"})
		case q.FormValue("client_secret") != secret || q.FormValue("client_id") != "client":
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "wrong secret"})
		default:
			now := time.Now().Unix()
			token := part(map[string]string{"alg": "none", "typ": "JWT"}) + "." + part(map[string]any{
				"iss": "https://sts.windows.net/tenant/", "aud": "https://storage.azure.com", "nbf": now - 60, "iat": now - 60, "exp": now + 3600,
			}) + "." + base64.RawURLEncoding.EncodeToString([]byte("unsigned"))
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Without an access key, the service principal's tokens are used, over TLS.
func TestServicePrincipal(t *testing.T) {
	issuer := etcdtest.NewAuthority(t)
	pair := issuer.Issue(t, time.Now().Add(time.Hour))
	s := objecttest.StartAzure(t, objecttest.Pair{Certificate: pair.Certificate, Key: pair.Key})
	tokens := authority(t)
	text, err := os.ReadFile(issuer.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	roots.AddCert(tokens.Certificate())
	o := Options{
		Account: objecttest.AzureAccount, Endpoint: s.Endpoint(), Container: "apps", Policy: quick, Roots: roots, Authority: tokens.URL,
		TenantID: "tenant", ClientID: "client", ClientSecret: "the-clients-secret",
	}
	r := open(t, o)
	if err := r.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "repo.azure.container") {
		t.Fatalf("%v; want that there is no container", err)
	}
	makeContainer(t, r)
	if err := r.Create(t.Context(), "site", repotest.Upload(t, []byte("x")), bundle.Meta{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := mustRead(t, r, "site"); got != "x" {
		t.Errorf("read %q", got)
	}
	o.ClientSecret = "another-secret"
	refused(t, "secret", o, "azure.clientSecret")
	o.Roots = nil
	refused(t, "unknown authority", o, "certificate is not accepted")
	o.Authority = "https://" + closedPort(t)
	refused(t, "nobody gives tokens", o, "cannot be reached")
}

func makeContainer(t *testing.T, r *Repository) {
	t.Helper()
	key, err := container.NewSharedKeyCredential(r.o.Account, objecttest.AzureAccessKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(r.endpoint+"/"+r.o.Container, key, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: policy.Transporter(&http.Client{Transport: r.transport})},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
