package reconcile

import (
	"context"
	"fmt"

	"statiko/dhparams"
	"statiko/state"
	"statiko/webserver"
)

// tellDH has a web server that can use Diffie-Hellman parameters use those of the state, or the group of RFC 7919 of the
// size that the cluster's own are to have, until there are any.
func (r *Reconciler) tellDH(ctx context.Context, s *state.Snapshot) error {
	setter, ok := r.Server.(webserver.DHParamsSetter)
	if !ok {
		return nil
	}
	text := ""
	if own, ok := s.DHParams(); ok {
		text = own.PEM
	} else {
		if r.builtinDH == "" {
			r.builtinDH = dhparams.Builtin(r.DHBits).PEM()
		}
		text = r.builtinDH
	}
	if err := setter.SetDHParams(ctx, text); err != nil {
		return fmt.Errorf("tell the web server: %w", err)
	}
	return nil
}
