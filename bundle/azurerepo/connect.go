package azurerepo

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// connect makes the client of the container at the URL.
func (r *Repository) connect(at string) (err error) {
	options := policy.ClientOptions{
		Transport: &http.Client{Transport: r.transport},
		Retry:     policy.RetryOptions{MaxRetries: -1}, // our policy repeats, and knows of the context and of progress
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
	if r.o.AccessKey == "" {
		credential, err := r.principal(options)
		if err != nil {
			return err
		}
		r.client, err = container.NewClient(at, credential, &container.ClientOptions{ClientOptions: options})
		if err != nil {
			return fmt.Errorf("repo.azure.endpoint: %w", err)
		}
		return nil
	}
	key, err := container.NewSharedKeyCredential(r.o.Account, r.o.AccessKey)
	if err != nil {
		return fmt.Errorf("repo.azure.accessKey is not in base64: %w", err)
	}
	r.client, err = container.NewClientWithSharedKeyCredential(at, key, &container.ClientOptions{ClientOptions: options})
	if err != nil {
		return fmt.Errorf("repo.azure.endpoint: %w", err)
	}
	return nil
}

// principal asks for tokens in the name of the service principal.
func (r *Repository) principal(options policy.ClientOptions) (azcore.TokenCredential, error) {
	for key, value := range map[string]string{"tenantId": r.o.TenantID, "clientId": r.o.ClientID, "clientSecret": r.o.ClientSecret} {
		if value == "" {
			return nil, fmt.Errorf("azure.%s is missing: without repo.azure.accessKey, the service principal is used", key)
		}
	}
	options.Cloud = r.cloud()
	credential, err := azidentity.NewClientSecretCredential(r.o.TenantID, r.o.ClientID, r.o.ClientSecret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: options,
		// The authority comes from the configuration, so nobody else needs to be asked whether it is one.
		DisableInstanceDiscovery: true,
	})
	if err != nil {
		return nil, fmt.Errorf("the service principal (keys azure.tenantId, azure.clientId, azure.clientSecret): %w", err)
	}
	return credential, nil
}

// cloud returns the cloud that the endpoint belongs to, for its authority.
func (r *Repository) cloud() cloud.Configuration {
	if r.o.Authority != "" {
		return cloud.Configuration{ActiveDirectoryAuthorityHost: r.o.Authority}
	}
	u, err := url.Parse(r.endpoint)
	switch {
	case err == nil && strings.HasSuffix(u.Hostname(), ".chinacloudapi.cn"):
		return cloud.AzureChina
	case err == nil && strings.HasSuffix(u.Hostname(), ".usgovcloudapi.net"):
		return cloud.AzureGovernment
	}
	return cloud.AzurePublic
}
