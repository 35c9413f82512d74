package objecttest

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"statiko/test/programs"
)

// Credentials of the S3 server's owner.
const (
	S3AccessKeyID     = "owner"
	S3SecretAccessKey = "owner-secret"
)

const gateway = "github.com/versity/versitygw/cmd/versitygw"

var s3Program = sync.OnceValues(func() (string, error) { return programs.Built("s3", "versitygw", gateway) })

// S3 is a server that speaks the S3 protocol. It knows conditional uploads.
type S3 struct{ *Server }

// StartS3 starts a server, which ends with the test.
func StartS3(t testing.TB, pair Pair) S3 {
	t.Helper()
	s, err := LaunchS3(t.TempDir(), pair)
	if err != nil {
		t.Fatal(err)
	}
	s.endWith(t)
	return s
}

// LaunchS3 starts a server outside of a test, with its data below the folder. It ends with this process, or by Kill.
func LaunchS3(below string, pair Pair) (S3, error) {
	program, err := s3Program()
	if err != nil {
		return S3{}, err
	}
	s, err := launch(below, "s3", program, pair.Certificate != "", func(folder, host, port string) []string {
		users := folder + ".users"
		if err := os.MkdirAll(users, 0o700); err != nil {
			users = folder // it ends with the reason
		}
		args := []string{"--iam-dir", users, "--port", host + ":" + port, "--access", S3AccessKeyID, "--secret", S3SecretAccessKey, "--quiet", "--keep-alive"}
		if pair.Certificate != "" {
			args = append(args, "--cert", pair.Certificate, "--key", pair.Key)
		}
		return append(args, "posix", folder)
	})
	return S3{s}, err
}

// User makes a user with no rights.
func (s S3) User(t testing.TB, keyID, secret string) {
	t.Helper()
	c := exec.Command(s.program, "admin", "--access", S3AccessKeyID, "--secret", S3SecretAccessKey, "--region", "us-east-1",
		"--endpoint-url", "http://"+s.address, "create-user", "--access", keyID, "--secret", secret, "--role", "user")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("make a user: %v\n%s", err, out)
	}
}

// Client returns a client with all rights, which ends with the test. It takes any certificate.
func (s S3) Client(t testing.TB) *minio.Core {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := minio.NewCore(s.address, &minio.Options{
		Creds: credentials.NewStaticV4(S3AccessKeyID, S3SecretAccessKey, ""), Transport: transport, Secure: s.tls, Region: "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Bucket makes a bucket with a name of its own.
func (s S3) Bucket(t testing.TB) string {
	t.Helper()
	name := bucketName()
	if err := s.Client(t).MakeBucket(context.Background(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatalf("make a bucket: %v", err)
	}
	return name
}

// bucketName returns a name that nothing has.
func bucketName() string { return "b" + strings.ToLower(randomText()) }
