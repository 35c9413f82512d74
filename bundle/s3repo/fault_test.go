package s3repo

import (
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"statiko/bundle"
	"statiko/bundle/repotest"
	"statiko/test/etcdtest"
	"statiko/test/objecttest"
)

// refused is how every call fails: with the key to look at, and without the secret.
func refused(t *testing.T, what string, o Options, want string) {
	t.Helper()
	o.Policy.Patience = 300 * time.Millisecond
	r := open(t, o)
	_, stat := r.Stat(t.Context(), "site")
	_, _, read := r.Open(t.Context(), "site", 0)
	_, list := r.List(t.Context())
	for call, err := range map[string]error{
		"Check": r.Check(t.Context()), "Stat": stat, "Open": read, "List": list, "Clean": r.Clean(t.Context()),
		"Create": r.Create(t.Context(), "site", repotest.Upload(t, []byte("x")), bundle.Meta{}),
		"Remove": r.Remove(t.Context(), "site"), "SetMeta": r.SetMeta(t.Context(), "site", bundle.Meta{}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s: %v; want %s", what, call, err, want)
			continue
		}
		if strings.Contains(err.Error(), o.SecretAccessKey) {
			t.Errorf("%s: %s: the error has the secret: %v", what, call, err)
		}
	}
}

func TestFaultsNameTheKey(t *testing.T) {
	plain := objecttest.StartS3(t, objecttest.Pair{})
	authority := etcdtest.NewAuthority(t)
	pair := authority.Issue(t, time.Now().Add(time.Hour))
	secure := objecttest.StartS3(t, objecttest.Pair{Certificate: pair.Certificate, Key: pair.Key})
	good := options(t, plain)
	good.Region = "us-east-1"

	o := good
	o.Bucket = "no-such-bucket"
	refused(t, "bucket", o, "repo.s3.bucket")
	o = good
	o.SecretAccessKey = "a-wrong-secret"
	refused(t, "secret", o, "repo.s3.secretAccessKey")
	o = good
	o.AccessKeyID = "nobody"
	refused(t, "key id", o, "repo.s3.accessKeyId")
	o = good
	o.Region = "eu-elsewhere-7"
	refused(t, "region", o, "repo.s3.region")
	o = good
	o.Endpoint = closedPort(t)
	refused(t, "nobody there", o, "repo.s3.endpoint")
	o = good
	o.NoTLS = false
	refused(t, "TLS to a plain server", o, "repo.s3.noTLS")
	o = good
	o.Endpoint = secure.Address()
	refused(t, "plain to a TLS server", o, "repo.s3.noTLS")
	o.NoTLS = false
	refused(t, "unknown authority", o, "certificate is not accepted")

	text, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	o.Roots = x509.NewCertPool()
	o.Roots.AppendCertsFromPEM(text)
	o.Bucket = secure.Bucket(t)
	r := open(t, o)
	if err := r.Check(t.Context()); err != nil {
		t.Errorf("over TLS: %v", err)
	}
	if err := r.Create(t.Context(), "site", repotest.Upload(t, []byte("x")), bundle.Meta{}); err != nil {
		t.Errorf("over TLS: %v", err)
	}
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
		{Endpoint: "h", AccessKeyID: "a", SecretAccessKey: "s"}, {Endpoint: "h", Bucket: "b", SecretAccessKey: "s"},
		{Endpoint: "h", Bucket: "b", AccessKeyID: "a"}, {Endpoint: "http://h", Bucket: "b", AccessKeyID: "a", SecretAccessKey: "s"},
	} {
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "repo.s3.") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
