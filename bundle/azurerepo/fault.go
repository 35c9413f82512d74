package azurerepo

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"statiko/bundle"
	"statiko/bundle/objectstore"
)

// statusOf returns the HTTP status of the server's answer, 0 if the error is none.
func statusOf(err error) int {
	if a, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return a.StatusCode
	}
	return 0
}

func codeOf(err error) string {
	if a, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return a.ErrorCode
	}
	return ""
}

// isMissing tells whether it is the blob that is not there, and not the container.
func isMissing(err error) bool {
	return statusOf(err) == http.StatusNotFound && codeOf(err) != string(bloberror.ContainerNotFound) &&
		codeOf(err) != string(bloberror.ResourceNotFound)
}

// transient tells whether a fault may pass by itself.
func transient(err error) bool {
	if errors.Is(err, bundle.ErrNotFound) || errors.Is(err, objectstore.ErrChanged) {
		return false
	}
	if denied, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		return denied.RawResponse == nil && objectstore.Transient(err) || denied.RawResponse != nil && passing(denied.RawResponse.StatusCode)
	}
	if status := statusOf(err); status != 0 {
		return passing(status)
	}
	return objectstore.Transient(err)
}

func passing(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented
}

// explain words an error for people: what is wrong, and which key to look at. What the server or the way to it is at
// fault for is a [state.ErrUnavailable]. The library's own words are pages long.
func (r *Repository) explain(err error) error {
	if err == nil || errors.Is(err, bundle.ErrNotFound) || errors.Is(err, bundle.ErrExists) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, objectstore.ErrChanged) || objectstore.IsDisk(err) {
		return err
	}
	return objectstore.Unavailable(r.words(err))
}

// words is explain without the sentinel.
func (r *Repository) words(err error) error {
	if denied, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && denied.RawResponse != nil {
		return &fault{fmt.Sprintf("Azure Storage at %s: no token for the service principal: correct azure.tenantId, azure.clientId and azure.clientSecret: HTTP %d",
			r.endpoint, denied.RawResponse.StatusCode), err}
	}
	if none, ok := errors.AsType[*noToken](err); ok {
		host := r.cloud().ActiveDirectoryAuthorityHost
		if fault := objectstore.NetworkFault(none.err, "the way to "+host, "see what answers for "+host); fault != nil {
			return r.at(fmt.Errorf("no token for the service principal: %w", fault))
		}
	}
	if fault := objectstore.NetworkFault(err, "repo.azure.account and repo.azure.endpoint", "correct repo.azure.endpoint"); fault != nil {
		return r.at(fault)
	}
	status := statusOf(err)
	if status == 0 {
		return r.at(err)
	}
	words := ""
	switch bloberror.Code(codeOf(err)) {
	case bloberror.ContainerNotFound, bloberror.ResourceNotFound:
		words = fmt.Sprintf("there is no container %s: make it, or correct repo.azure.container: ", r.o.Container)
	case bloberror.AuthenticationFailed, bloberror.InvalidAuthenticationInfo:
		words = "the service principal's token is not accepted: see azure.tenantId and azure.clientId: "
		if r.o.AccessKey != "" {
			words = "the access key is not this account's, or this machine's clock is wrong: correct repo.azure.account and repo.azure.accessKey: "
		}
	case bloberror.AuthorizationFailure, bloberror.AuthorizationPermissionMismatch, bloberror.InsufficientAccountPermissions:
		words = fmt.Sprintf("this is not allowed in the container %s: grant the role of docs/repositories.md, and see the account's network rules: ", r.o.Container)
		if r.o.AccessKey != "" { // which may do everything
			words = "this is not allowed: see the account's network rules, and correct repo.azure.account and repo.azure.accessKey: "
		}
	}
	return &fault{fmt.Sprintf("Azure Storage at %s: %s%s (HTTP %d)", r.endpoint, words, codeOf(err), status), err}
}

// at says where it happened.
func (r *Repository) at(err error) error {
	return &fault{fmt.Sprintf("Azure Storage at %s: %v", r.endpoint, err), err}
}

// fault is an error in our words.
type fault struct {
	words string
	err   error
}

func (f *fault) Error() string { return f.words }
func (f *fault) Unwrap() error { return f.err }
