package objecttest

import (
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"statiko/test/programs"
)

// The account that every Azurite has, with its key, as its documentation publishes them.
const (
	AzureAccount   = "devstoreaccount1"
	AzureAccessKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

var azureProgram = sync.OnceValues(func() (string, error) {
	folder, err := programs.Installed("azurite", "azurite")
	return filepath.Join(folder, "node_modules", "azurite", "dist", "src", "blob", "main.js"), err
})

// Azure is a server that speaks the protocol of Azure's Blob Storage.
type Azure struct{ *Server }

// StartAzure starts a server, which ends with the test. With a pair it speaks TLS, and takes tokens. The test is skipped
// where there is no Node.js, except in CI.
func StartAzure(t testing.TB, pair Pair) Azure {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil && os.Getenv("CI") == "" {
			t.Skipf("%s is not installed: Azurite, the emulator of Azure Storage, needs it (apt-get install nodejs npm)", tool)
		}
	}
	program, err := azureProgram()
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	s, err := launch(t.TempDir(), "azure", node, pair.Certificate != "", func(folder, host, port string) []string {
		args := []string{program, "--location", folder, "--blobHost", host, "--blobPort", port, "--silent", "--skipApiVersionCheck", "--disableTelemetry"}
		if pair.Certificate != "" {
			args = append(args, "--cert", pair.Certificate, "--key", pair.Key, "--oauth", "basic")
		}
		return args
	})
	if err != nil {
		t.Fatal(err)
	}
	s.saves = true
	s.endWith(t)
	return Azure{s}
}

// Endpoint returns the URL of the account.
func (a Azure) Endpoint() string {
	if a.tls {
		return "https://" + a.address + "/" + AzureAccount
	}
	return "http://" + a.address + "/" + AzureAccount
}

// Container makes a container with a name of its own. The server must not speak TLS.
func (a Azure) Container(t testing.TB) *container.Client {
	t.Helper()
	credential, err := container.NewSharedKeyCredential(AzureAccount, AzureAccessKey)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	c, err := container.NewClientWithSharedKeyCredential(a.Endpoint()+"/"+bucketName(), credential, &container.ClientOptions{
		ClientOptions: policy.ClientOptions{Transport: &http.Client{Transport: transport}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(context.Background(), nil); err != nil {
		t.Fatalf("make a container: %v", err)
	}
	return c
}

func randomText() string { return rand.Text() }
