package test

import (
	"errors"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"statiko/test/cluster"
	"statiko/test/objecttest"
)

// objectStore is a server that a node keeps its bundles in.
type objectStore struct {
	// settings are the node's.
	settings []string
	// secret must be nowhere.
	secret string
	// proxy is between the two.
	proxy interface {
		Cut()
		Mend()
	}
}

func s3Store(t *testing.T) objectStore {
	s := objecttest.StartS3(t, objecttest.Pair{})
	proxy := s.Proxy(t)
	return objectStore{proxy: proxy, secret: objecttest.S3SecretAccessKey, settings: []string{
		"repo.type=minio", "repo.s3.endpoint=" + proxy.Address(), "repo.s3.noTLS=true", "repo.s3.bucket=" + s.Bucket(t),
		"repo.s3.accessKeyId=" + objecttest.S3AccessKeyID, "repo.s3.secretAccessKey=" + objecttest.S3SecretAccessKey,
	}}
}

func azureStore(t *testing.T) objectStore {
	s := objecttest.StartAzure(t, objecttest.Pair{})
	proxy := s.Proxy(t)
	return objectStore{proxy: proxy, secret: objecttest.AzureAccessKey, settings: []string{
		"repo.type=azureblob", "repo.azure.endpoint=" + proxy.Endpoint() + "/" + objecttest.AzureAccount,
		"repo.azure.account=" + objecttest.AzureAccount, "repo.azure.accessKey=" + objecttest.AzureAccessKey,
		"repo.azure.container=" + path.Base(s.Container(t).URL()),
	}}
}

// check runs "statiko check" on the node's configuration.
func check(t testing.TB, n *cluster.Node) (out string, exit int) {
	t.Helper()
	p, err := cluster.StartProcess(n.Dir, filepath.Join(t.TempDir(), "statiko"), cluster.CleanEnv("HOME="+n.Dir, "GO_ENV=production"),
		filepath.Join(n.Bin, "statiko"), "check", "--config", n.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended
	return string(p.Log()), p.Cmd.ProcessState.ExitCode()
}

func TestObjectStores(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) objectStore{"S3": s3Store, "Azure": azureStore} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := start(t)
			servesWhileItsStoreIsAway(t, store)
			if t.Failed() {
				return
			}
			checkNamesTheFault(t, store)
		})
	}
}

// A node keeps its bundles in an object store. While that is away, sites are served, bundles that the node has are
// deployed, also after a restart of the node, and uploads fail with the reason and leave nothing.
func servesWhileItsStoreIsAway(t *testing.T, store objectStore) {
	n := cluster.NewNode(t, built(t), store.settings...)
	if out, exit := check(t, n); exit != 0 || !strings.Contains(out, "valid") {
		t.Fatalf("check: exit code %d\n%s", exit, out)
	}
	n.Start(t)
	v := cluster.Visit(t, n)
	const page = "https://docs.example.org/"
	n.Stkcli(t, "site", "add", "-d", "docs.example.org", "--wait")
	upload := func(app string) (string, int) {
		folder := filepath.Join(t.TempDir(), app)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "index.html"), []byte("this is "+app), 0o644); err != nil {
			t.Fatal(err)
		}
		return n.TryStkcli(t, "app", "upload", "-a", app, "--path", folder)
	}
	serves := func(app string) {
		t.Helper()
		if p := v.MustGet(t, http.StatusOK, page); string(p.Body) != "this is "+app {
			t.Fatalf("%s is served; want %s", p.Body, app)
		}
	}
	for _, app := range []string{"docs-1", "docs-2"} {
		if out, exit := upload(app); exit != 0 {
			t.Fatalf("upload: exit code %d\n%s", exit, out)
		}
	}
	n.Stkcli(t, "deploy", "-d", "docs.example.org", "-a", "docs-1", "--wait")
	serves("docs-1")

	store.proxy.Cut()
	serves("docs-1")
	n.Stkcli(t, "deploy", "-d", "docs.example.org", "-a", "docs-2", "--wait")
	serves("docs-2")
	out, exit := upload("docs-3")
	if exit == 0 || !strings.Contains(out, "cannot be reached") || !strings.Contains(out, "endpoint") {
		t.Errorf("upload without the store: exit code %d\n%s", exit, out)
	}
	if list := n.Stkcli(t, "app", "list"); strings.Contains(list, "docs-3") {
		t.Errorf("an upload that failed is listed:\n%s", list)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	n.Start(t)
	serves("docs-2")
	n.Stkcli(t, "deploy", "-d", "docs.example.org", "-a", "docs-1", "--wait")
	serves("docs-1")

	store.proxy.Mend()
	if out, exit := upload("docs-3"); exit != 0 {
		t.Fatalf("upload with the store back: exit code %d\n%s", exit, out)
	}
	n.Stkcli(t, "deploy", "-d", "docs.example.org", "-a", "docs-3", "--wait")
	serves("docs-3")

	// Another node's disk would be empty: what is unpacked comes from the store.
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"apps", "archives"} {
		if err := os.RemoveAll(filepath.Join(n.Dir, "data", folder)); err != nil {
			t.Fatal(err)
		}
	}
	n.Start(t)
	cluster.Must(t, n.Settled())
	serves("docs-3")
	if strings.Contains(string(n.Log()), store.secret) {
		t.Error("the log has the secret")
	}
}

// A node whose bucket is missing starts, and says in its log and to who uploads what to do.
func TestObjectStores_MissingBucket(t *testing.T) {
	t.Parallel()
	store := s3Store(t)
	n := cluster.NewNode(t, built(t), append(store.settings, "repo.s3.bucket=not-there")...)
	n.Start(t)
	cluster.Must(t, cluster.Poll(cluster.StartTimeout, "wait for the log", func() error {
		for line := range strings.Lines(string(n.Log())) {
			if strings.Contains(line, "the repository cannot be used") && strings.Contains(line, "repo.s3.bucket") {
				return nil
			}
		}
		return errors.New("the log does not say that the bucket is missing")
	}))
	file := filepath.Join(t.TempDir(), "index.html")
	if err := os.WriteFile(file, []byte("a page"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, exit := n.TryStkcli(t, "app", "upload", "-a", "docs-1", "--path", filepath.Dir(file))
	if exit == 0 || !strings.Contains(out, "repo.s3.bucket") {
		t.Errorf("upload: exit code %d\n%s", exit, out)
	}
}

// "statiko check" connects to the store, and says what is wrong in words, with the key.
func checkNamesTheFault(t *testing.T, store objectStore) {
	for setting, want := range map[string]string{
		"repo.s3.bucket=not-there": "repo.s3.bucket", "repo.s3.secretAccessKey=wrong": "repo.s3.secretAccessKey",
		"repo.azure.container=not-there": "repo.azure.container", "repo.azure.accessKey=d3Jvbmc=": "repo.azure.accessKey",
	} {
		if !strings.HasPrefix(store.settings[1], setting[:len("repo.s")]) {
			continue // the other kind's
		}
		n := cluster.NewNode(t, built(t), append(append([]string{}, store.settings...), setting)...)
		out, exit := check(t, n)
		if exit != 1 || !strings.Contains(out, want) || strings.Contains(out, store.secret) {
			t.Errorf("%s: exit code %d\n%s", setting, exit, out)
		}
	}
}
