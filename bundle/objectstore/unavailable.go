package objectstore

import "statiko/state"

// Unavailable makes an error a [state.ErrUnavailable] besides, so that whoever asked is told the reason and may come
// again.
func Unavailable(err error) error { return &unavailable{err} }

type unavailable struct{ err error }

func (u *unavailable) Error() string   { return u.err.Error() }
func (u *unavailable) Unwrap() []error { return []error{u.err, state.ErrUnavailable} }
