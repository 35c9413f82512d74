package etcdclient

import "google.golang.org/grpc/status"

// Plain takes gRPC's words off an error of etcd, for people.
func Plain(err error) error {
	if s, ok := status.FromError(err); ok && s.Message() != "" {
		return &plainError{s.Message(), err}
	}
	return err
}

type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }
