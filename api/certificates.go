package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// CertificateDetails is one element of the answer of GET /certificate?details=1.
type CertificateDetails struct {
	// Name is that under which the certificate was imported. A node of the earlier program tells nothing else.
	Name string `json:"name"`
	// Names are the host names and addresses it is for.
	Names []string `json:"names,omitempty"`
	// Issuer is a distinguished name (RFC 2253).
	Issuer string `json:"issuer,omitempty"`
	// NotBefore and NotAfter bound its validity.
	NotBefore *time.Time `json:"notBefore,omitempty"`
	NotAfter  *time.Time `json:"notAfter,omitempty"`
	// DaysLeft counts whole days of 24 hours to NotAfter; it is negative once that has passed.
	DaysLeft *int `json:"daysLeft,omitempty"`
	// KeyType is such as "ECDSA P-256" or "RSA 2048".
	KeyType string `json:"keyType,omitempty"`
	// Sites are the primary domains of the sites that use it.
	Sites []string `json:"sites,omitempty"`
	// ETag is for [IfMatch].
	ETag string `json:"etag,omitempty"`
	// Error says why nothing is told about it.
	Error string `json:"error,omitempty"`
}

// CertificateDetails returns what there is to know about the imported certificates, in the order of their names. It is
// never nil without an error. Of a node of the earlier program it has the names alone.
func (c *Client) CertificateDetails(ctx context.Context, options ...CallOption) ([]CertificateDetails, error) {
	k := newCall(http.MethodGet, options, "certificate")
	k.query.Set("details", "1")
	var answer []json.RawMessage
	if err := c.call(ctx, k, nil, &answer); err != nil {
		return nil, err
	}
	list := make([]CertificateDetails, len(answer))
	for i, raw := range answer {
		if json.Unmarshal(raw, &list[i].Name) == nil {
			continue
		}
		if err := json.Unmarshal(raw, &list[i]); err != nil {
			return nil, &Error{Status: http.StatusOK, Code: CodeInternal, Message: "the node's list of certificates cannot be read: " + err.Error()}
		}
	}
	return list, nil
}
