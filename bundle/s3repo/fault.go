package s3repo

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"statiko/bundle"
	"statiko/bundle/objectstore"
)

func answer(err error) minio.ErrorResponse {
	a, _ := errors.AsType[minio.ErrorResponse](err)
	return a
}

// statusOf returns the HTTP status of the server's answer, 0 if the error is none.
func statusOf(err error) int { return answer(err).StatusCode }

func codeOf(err error) string { return answer(err).Code }

// isTaken tells whether the condition of an upload did not hold, now or for an upload that the server still has under
// way, or whether the upload has ended before.
func isTaken(err error) bool {
	switch statusOf(err) {
	case http.StatusPreconditionFailed, http.StatusConflict:
		return true
	}
	return codeOf(err) == minio.NoSuchUpload
}

// transient tells whether a fault may pass by itself.
func transient(err error) bool {
	if errors.Is(err, bundle.ErrNotFound) || errors.Is(err, objectstore.ErrChanged) {
		return false
	}
	a := answer(err)
	if a.StatusCode == 0 && a.Code == "" {
		return objectstore.Transient(err)
	}
	switch a.Code {
	case "RequestTimeout", "SlowDown", "IncompleteBody":
		return true
	}
	return a.StatusCode == http.StatusTooManyRequests || a.StatusCode >= 500 && a.StatusCode != http.StatusNotImplemented
}

// explain words an error for people: what is wrong, and which key to look at. What the server or the way to it is at
// fault for is a [state.ErrUnavailable].
func (r *Repository) explain(err error) error {
	if err == nil || errors.Is(err, bundle.ErrNotFound) || errors.Is(err, bundle.ErrExists) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, objectstore.ErrChanged) || objectstore.IsDisk(err) {
		return err
	}
	return objectstore.Unavailable(r.words(err))
}

// words is explain without the sentinel.
func (r *Repository) words(err error) error {
	where := "repo.s3.endpoint"
	if r.o.NoTLS {
		where += " and repo.s3.noTLS" // some servers of TLS close a connection without
	}
	if fault := objectstore.NetworkFault(err, where, "correct repo.s3.endpoint, or set repo.s3.noTLS to true"); fault != nil {
		return fmt.Errorf("S3 at %s: %w", r.o.Endpoint, fault)
	}
	words := ""
	switch answer := answer(err); answer.Code {
	case minio.NoSuchBucket:
		words = fmt.Sprintf("there is no bucket %s: make it, or correct repo.s3.bucket", r.o.Bucket)
	case "InvalidAccessKeyId", "XAdminUserNotFound":
		words = "the access key id is not known: correct repo.s3.accessKeyId"
	case "SignatureDoesNotMatch":
		words = "the secret does not belong to the access key id: correct repo.s3.secretAccessKey"
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		words = fmt.Sprintf("the owner of repo.s3.accessKeyId may not do this in the bucket %s: grant the permissions of docs/repositories.md", r.o.Bucket)
	case "RequestTimeTooSkewed":
		words = "the clocks of this machine and of the server differ by too much: set this machine's"
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "InvalidRegion":
		words = "the bucket is in another region: correct repo.s3.region"
		if answer.Region != "" {
			words += ", which is " + answer.Region
		}
	default:
		switch {
		case answer.StatusCode == http.StatusBadRequest && r.o.NoTLS:
			words = "the request was not understood; if the server speaks TLS, set repo.s3.noTLS to false"
		case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
			words = "access is refused: see repo.s3.accessKeyId, its secret and its permissions"
		}
	}
	if words == "" {
		return fmt.Errorf("S3 at %s: %w", r.o.Endpoint, err)
	}
	return fmt.Errorf("S3 at %s: %s: %w", r.o.Endpoint, words, err)
}
