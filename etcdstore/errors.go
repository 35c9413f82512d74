package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"statiko/etcdclient"
	"statiko/state"
)

var errClosed = errors.New("the store is closed")

// unavailable says that a change was certainly not made.
func unavailable(reason any) error { return fmt.Errorf("%w: %v", state.ErrUnavailable, reason) }

// etcdError words a failed request.
func etcdError(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded), status.Code(err) == codes.DeadlineExceeded:
		return errors.New("etcd does not answer")
	case errors.Is(err, rpctypes.ErrNoSpace):
		return errNoSpace
	case errors.Is(err, rpctypes.ErrNoLeader):
		return errors.New("etcd has no leader: too few of its members are up")
	}
	var d *detachedError
	if errors.As(err, &d) || errors.Is(err, state.ErrForeignKey) {
		return err
	}
	return fmt.Errorf("etcd: %w", etcdclient.Plain(err))
}

var errNoSpace = errors.New("etcd is out of space (alarm NOSPACE): compact and defragment it, then disarm the alarm (etcdctl compact, defrag, alarm disarm)")

// refusal returns the error for an answer that says that the transaction was not made and will not be, and that
// trying again is of no use; nil for any other.
func refusal(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return state.Errorf(state.ErrTooLarge, state.Key{}, "", "the change is larger than etcd allows")
	case notSent(err):
		return nil
	}
	switch status.Code(rpcError(err)) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.ResourceExhausted:
		return unavailable(etcdError(err))
	}
	return nil
}

// notSent tells whether a failed request certainly did not reach etcd, or was turned away before anything was done
// with it, so that it can be repeated as if it were the first.
func notSent(err error) bool {
	return errors.Is(err, rpctypes.ErrTooManyRequests) || errors.Is(err, rpctypes.ErrAuthOldRevision) ||
		errors.Is(err, rpctypes.ErrInvalidAuthToken) ||
		status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "Error while dialing")
}

// rpcError gives status the code of etcd's own errors.
func rpcError(err error) error {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return status.Error(e.Code(), e.Error())
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
