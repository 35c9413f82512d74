package s3repo

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"statiko/bundle"
	"statiko/bundle/repotest"
	"statiko/test/objecttest"
)

// statement is one of a policy.
type statement struct {
	Effect    string
	Principal map[string][]string
	Action    []string
	Resource  string
}

type policy struct {
	Version   string
	Statement []statement
}

// documented returns the policy of docs/repositories.md for a bucket and a user.
func documented(t *testing.T, bucket, user string) policy {
	t.Helper()
	text, err := os.ReadFile("../../docs/repositories.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "    {\n")
	block, _, ok2 := strings.Cut(rest, "\n    }\n")
	if !ok || !ok2 {
		t.Fatal("docs/repositories.md has no policy")
	}
	var p policy
	if err := json.Unmarshal([]byte("{"+strings.ReplaceAll(block, "statiko-bundles", bucket)+"}"), &p); err != nil {
		t.Fatal(err)
	}
	for i := range p.Statement {
		p.Statement[i].Principal = map[string][]string{"AWS": {user}}
	}
	return p
}

func grant(t *testing.T, s objecttest.S3, bucket string, p policy) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client(t).PutBucketPolicy(context.Background(), bucket, string(text)); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// everything does all that a repository can do, and returns the first error.
func everything(t *testing.T, s objecttest.S3, o Options, name string) error {
	t.Helper()
	r := open(t, o)
	// What a crash left, so that there is something to remove.
	if _, err := s.Client(t).NewMultipartUpload(t.Context(), o.Bucket, name, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(r.Check(t.Context()), r.Clean(t.Context()))
	for _, size := range []int{1000, partSize + 1000} {
		if err == nil {
			err = r.Create(t.Context(), name, repotest.Upload(t, repotest.Content(size)), bundle.Meta{Type: "zip"})
		}
		if err == nil {
			_, err = r.List(t.Context())
		}
		if err == nil {
			err = r.SetMeta(t.Context(), name, bundle.Meta{Type: "tar"})
		}
		if err == nil {
			var got []byte
			if got, _ = mustRead(t, r, name); len(got) != size {
				t.Errorf("read %d bytes of %d", len(got), size)
			}
		}
		if err == nil {
			err = r.Remove(t.Context(), name)
		}
	}
	return err
}

// The permissions in docs/repositories.md are enough, and the server refuses what lacks one of them, in words.
func TestPermissions(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	o := options(t, s)
	o.AccessKeyID, o.SecretAccessKey = "statiko", "statikos-secret"
	o.PartSize, o.CopySize, o.StaleAfter = partSize, partSize, time.Nanosecond
	s.User(t, o.AccessKeyID, o.SecretAccessKey)
	if err := everything(t, s, o, "none"); err == nil || !strings.Contains(err.Error(), "docs/repositories.md") {
		t.Errorf("without permissions: %v", err)
	}
	all := documented(t, o.Bucket, o.AccessKeyID)
	grant(t, s, o.Bucket, all)
	if err := everything(t, s, o, "all"); err != nil {
		t.Errorf("with the documented permissions: %v", err)
	}
	for _, missing := range []string{"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"} {
		less := documented(t, o.Bucket, o.AccessKeyID)
		for i := range less.Statement {
			less.Statement[i].Action = slices.DeleteFunc(less.Statement[i].Action, func(a string) bool { return a == missing })
		}
		grant(t, s, o.Bucket, less)
		if err := everything(t, s, o, "less"+strings.ToLower(missing[3:])); err == nil || !strings.Contains(err.Error(), "docs/repositories.md") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}
