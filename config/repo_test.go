package config

import (
	"slices"
	"strings"
	"testing"
)

// faultKeys returns the keys that are at fault in a configuration with the text for repo.
func faultKeys(t *testing.T, repo string) []string {
	t.Helper()
	text := strings.Replace(minimal, "repo: {type: local, local: {path: /srv/statiko-repo}}", "repo: "+repo, 1)
	if !strings.Contains(text, repo) {
		t.Fatalf("the minimal configuration has changed:\n%s", minimal)
	}
	var keys []string
	for _, f := range faultsOf(t, text, nil) {
		keys = append(keys, f.Key)
	}
	return keys
}

func TestCheck_ObjectStoresNeedTheirKeys(t *testing.T) {
	t.Parallel()
	for repo, want := range map[string][]string{
		"{type: s3}":    {"repo.s3.accessKeyId", "repo.s3.secretAccessKey", "repo.s3.bucket"},
		"{type: minio}": {"repo.s3.accessKeyId", "repo.s3.secretAccessKey", "repo.s3.bucket"},
		"{type: s3, s3: {accessKeyId: a, secretAccessKey: b, bucket: A_b}}":                  {"repo.s3.bucket"},
		"{type: s3, s3: {accessKeyId: a, secretAccessKey: b, bucket: abc, endpoint: a://b}}": {"repo.s3.endpoint"},
		"{type: azure}":     {"repo.azure.account", "azure.tenantId", "azure.clientId", "azure.clientSecret"},
		"{type: azureblob}": {"repo.azure.account", "azure.tenantId", "azure.clientId", "azure.clientSecret"},
		"{type: azure, azure: {account: A-b, accessKey: 'not base64!', container: x, endpoint: nowhere}}": {
			"repo.azure.account", "repo.azure.accessKey", "repo.azure.container", "repo.azure.endpoint"},
		"{type: azure, azure: {account: acc, endpoint: 'http://127.0.0.1:10000/acc'}}": {
			"repo.azure.endpoint", "azure.tenantId", "azure.clientId", "azure.clientSecret"},
	} {
		if got := faultKeys(t, repo); !slices.Equal(got, want) {
			t.Errorf("%s: faults of %v, want %v", repo, got, want)
		}
	}
}

func TestCheck_ObjectStoresAreTaken(t *testing.T) {
	t.Parallel()
	for repo, want := range map[string]string{
		"{type: minio, s3: {accessKeyId: a, secretAccessKey: b, bucket: abc, endpoint: 'h:9000', region: r, noTLS: true}}": "s3",
		"{type: azureblob, azure: {account: acc, accessKey: c2VjcmV0}}":                                                    "azure",
		"{type: azure, azure: {account: acc}}\nazure: {tenantId: t, clientId: c, clientSecret: s}":                         "azure",
	} {
		text := strings.Replace(minimal, "repo: {type: local, local: {path: /srv/statiko-repo}}", "repo: "+repo, 1)
		c, w := mustParse(t, text, nil)
		if c.Repo.Type != want || len(w) != 0 {
			t.Errorf("%s: type %s, warnings %v", repo, c.Repo.Type, w)
		}
	}
}
