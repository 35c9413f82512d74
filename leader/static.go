package leader

import (
	"context"
	"errors"
	"sync/atomic"

	"go.uber.org/zap"
)

// Static is the [Elector] of a node that is alone: its one term lasts as long as Run.
type Static struct {
	node string
	log  *zap.Logger
	term atomic.Pointer[staticTerm]
}

var _ Elector = (*Static)(nil)

// NewStatic returns the elector of the node with the name. A nil log is silent.
func NewStatic(node string, log *zap.Logger) *Static {
	if log == nil {
		log = zap.NewNop()
	}
	return &Static{node: node, log: log}
}

// staticTerm is a term and its fence: both are over when the context is.
type staticTerm struct{ ctx context.Context }

// Over implements [statiko/state.Fence].
func (t *staticTerm) Over() bool { return t.ctx.Err() != nil }

// Run is the node's one term.
func (s *Static) Run(ctx context.Context, duties map[string]Duty) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	term := &staticTerm{ctx}
	if !s.term.CompareAndSwap(nil, term) {
		return errors.New("this node's term of leadership runs already")
	}
	defer s.term.Store(nil)
	s.log.Info("this node leads", zap.String("node", s.node))
	defer s.log.Info("this node no longer leads", zap.String("node", s.node))
	runTerm(ctx, term, duties, s.log)
	return nil
}

// Leader returns the node's own name while its term lasts.
func (s *Static) Leader() (string, bool) {
	if t := s.term.Load(); t == nil || t.Over() {
		return "", false
	}
	return s.node, true
}
