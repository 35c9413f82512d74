package api

import (
	"context"
	"net/http"
)

// Certificates returns the names of the imported certificates, sorted. It is never nil without an error.
func (c *Client) Certificates(ctx context.Context, options ...CallOption) ([]string, error) {
	var names []string
	if err := c.call(ctx, newCall(http.MethodGet, options, "certificate"), nil, &names); err != nil {
		return nil, err
	}
	if names == nil {
		names = []string{}
	}
	return names, nil
}

// ImportCertificate stores a certificate with its key, in place of one with the same name.
func (c *Client) ImportCertificate(ctx context.Context, cert CertificateImport, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "certificate")
	k.accept = noContentOnly
	return c.call(ctx, k, cert, nil)
}

// DeleteCertificate removes an imported certificate; state.ErrInUse if a site uses it.
func (c *Client) DeleteCertificate(ctx context.Context, name string, options ...CallOption) error {
	k := newCall(http.MethodDelete, options, "certificate", name)
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}

// DHParams tells which Diffie-Hellman parameters are in use.
func (c *Client) DHParams(ctx context.Context, options ...CallOption) (*DHParams, error) {
	var p DHParams
	if err := c.call(ctx, newCall(http.MethodGet, options, "dhparams"), nil, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// SetDHParams stores Diffie-Hellman parameters, given as PEM.
func (c *Client) SetDHParams(ctx context.Context, pem string, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "dhparams")
	k.accept = noContentOnly
	return c.call(ctx, k, DHParamsImport{DHParams: pem}, nil)
}
