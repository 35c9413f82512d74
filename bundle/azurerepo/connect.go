package azurerepo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// connect makes the client of the container at the URL.
func (r *Repository) connect(at string) (err error) {
	options := policy.ClientOptions{
		Transport: &http.Client{Transport: r.send},
		Retry:     policy.RetryOptions{MaxRetries: -1}, // our policy repeats, and knows of the context and of progress
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
	if r.o.AccessKey == "" {
		credential, err := r.servicePrincipal(options)
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

// servicePrincipal asks for tokens in the name of the service principal.
func (r *Repository) servicePrincipal(options policy.ClientOptions) (azcore.TokenCredential, error) {
	for key, value := range map[string]string{"tenantId": r.o.TenantID, "clientId": r.o.ClientID, "clientSecret": r.o.ClientSecret} {
		if value == "" {
			return nil, fmt.Errorf("azure.%s is missing: without repo.azure.accessKey, the service principal is used", key)
		}
	}
	options.Cloud = r.cloud()
	way := &recorder{to: r.send}
	options.Transport = &http.Client{Transport: way}
	credential, err := azidentity.NewClientSecretCredential(r.o.TenantID, r.o.ClientID, r.o.ClientSecret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: options,
		// The authority comes from the configuration, so nobody else needs to be asked whether it is one.
		DisableInstanceDiscovery: true,
	})
	if err != nil {
		return nil, fmt.Errorf("the service principal (keys azure.tenantId, azure.clientId, azure.clientSecret): %w", err)
	}
	return &principal{credential, way}, nil
}

// principal is a credential that says why no token came: its library has only words for it.
type principal struct {
	azcore.TokenCredential
	way *recorder
}

// GetToken is part of [azcore.TokenCredential].
func (p *principal) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := p.TokenCredential.GetToken(ctx, o)
	if err != nil {
		if fault := p.way.fault.Load(); fault != nil {
			err = &noToken{*fault}
		}
	}
	return token, err
}

// noToken is the error if who gives tokens was not reached.
type noToken struct{ err error }

func (e *noToken) Error() string { return "no token for the service principal: " + e.err.Error() }
func (e *noToken) Unwrap() error { return e.err }

// recorder keeps how the last request failed; nil if it was answered.
type recorder struct {
	to    http.RoundTripper
	fault atomic.Pointer[error]
}

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	a, err := r.to.RoundTrip(q)
	if err != nil {
		// As the client would have it.
		err = &url.Error{Op: q.Method, URL: q.URL.Host, Err: err}
		r.fault.Store(&err)
	} else {
		r.fault.Store(nil)
	}
	return a, err
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
