package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"statiko/state"
)

// source is a place from which an archive can be had.
type source struct {
	// name is for people.
	name string
	open func(ctx context.Context, app *state.App, offset int64) (io.ReadCloser, error)
}

// sources returns where an archive may be beside this node's own folder: the other nodes in random order, so that
// they share the load, then the object store.
func (l *Library) sources() []source {
	up, _ := l.Peers.Others()
	var list []source
	for _, i := range rand.Perm(len(up)) {
		list = append(list, l.node(up[i]))
	}
	if l.Cache != nil {
		list = append(list, source{objectStore, func(ctx context.Context, app *state.App, offset int64) (io.ReadCloser, error) {
			r, _, err := l.Repository.Open(ctx, app.Name, offset)
			return r, err
		}})
	}
	return list
}

func (l *Library) node(name string) source {
	return source{"the node " + name, func(ctx context.Context, app *state.App, offset int64) (io.ReadCloser, error) {
		return l.Peers.Open(ctx, name, app, offset)
	}}
}

// objectStore is the name of that source.
const objectStore = "the repository"

// Times of fetching.
const (
	// stallTimeout is how long a source may yield nothing.
	stallTimeout = 15 * time.Second
	// resumePause is before a source is asked again that broke off.
	resumePause = 200 * time.Millisecond
	// maxBreaks bounds how often a source may break off, on average, without a byte in between.
	maxBreaks = 2
)

// unobtained is why none of the places has given an archive, as opposed to what went wrong on this node.
type unobtained struct{ error }

func (e unobtained) Unwrap() error { return e.error }

// fetchFrom reads an archive from the sources into a spool, which has the bytes that the state says. A source that
// breaks off is resumed, from where it was, at the next one. If the bytes turn out to be others, each source is tried
// by itself, and blamed by name.
func (l *Library) fetchFrom(ctx context.Context, app *state.App, sources []source) (*Spool, error) {
	if len(sources) == 0 {
		return nil, unobtained{fmt.Errorf("%w on this node, and no other node is up", ErrNotFound)}
	}
	spool, used, err := l.fetchOnce(ctx, app, sources)
	if !errors.Is(err, ErrHashMismatch) {
		return spool, err
	}
	if used == 1 && len(sources) == 1 {
		return nil, err
	}
	var errs []error
	for _, s := range sources {
		if spool, _, err = l.fetchOnce(ctx, app, []source{s}); err == nil {
			return spool, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// fetchOnce also returns how many sources yielded bytes.
func (l *Library) fetchOnce(ctx context.Context, app *state.App, sources []source) (*Spool, int, error) {
	r := &resuming{ctx: ctx, app: app, sources: sources, yielded: map[string]bool{}}
	defer r.close()
	spool, err := NewSpool(ctx, l.SpoolDir, r, max(app.Size, 1))
	switch {
	case errors.Is(err, ErrTooLarge):
		err = fmt.Errorf("%w: it has more than %d bytes", ErrHashMismatch, app.Size)
	case err == nil && spool.SHA256 != app.SHA256:
		spool.Discard()
		err = fmt.Errorf("%w: it has %s, not %s", ErrHashMismatch, spool.SHA256, app.SHA256)
	case err == nil:
		return spool, len(r.yielded), nil
	default:
		return nil, len(r.yielded), fmt.Errorf("fetch the bundle %s: %w", app.Name, err)
	}
	from := r.from()
	if from == objectStore {
		l.unsound.Store(app.SHA256, true)
	}
	l.note(app.Name, "what came from "+from+" is not the bundle", err)
	return nil, len(r.yielded), fmt.Errorf("from %s: %w", from, err)
}

// resuming reads an archive from one source after the other.
type resuming struct {
	ctx     context.Context
	app     *state.App
	sources []source
	// yielded has the names of those that gave bytes.
	yielded map[string]bool

	at     int64
	next   int
	breaks int
	errs   []error

	body   io.ReadCloser
	name   string
	cancel context.CancelFunc
	stall  *time.Timer
}

// from names the sources of what was read.
func (r *resuming) from() string {
	var names []string
	for _, s := range r.sources {
		if r.yielded[s.name] {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, " and ")
}

func (r *resuming) Read(p []byte) (int, error) {
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		r.stall.Reset(stallTimeout)
		n, err := r.body.Read(p)
		r.at += int64(n)
		if n > 0 {
			r.breaks, r.yielded[r.name] = 0, true
			return n, nil // an error comes again
		}
		if err == nil {
			continue
		}
		if err == io.EOF && r.at >= r.app.Size {
			return 0, io.EOF
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.failed(err)
	}
}

// open asks the next source that may have the archive, with pauses once each was asked. A source that broke off may be
// asked again, one that does not have it is not.
func (r *resuming) open() error {
	for len(r.sources) > 0 && r.breaks <= maxBreaks*len(r.sources) {
		if r.breaks >= len(r.sources) {
			if err := r.pause(); err != nil {
				return err
			}
		}
		i := r.next % len(r.sources)
		s := r.sources[i]
		ctx, cancel := context.WithCancel(r.ctx)
		stall := time.AfterFunc(stallTimeout, cancel)
		body, err := s.open(ctx, r.app, r.at)
		if err == nil {
			r.body, r.name, r.cancel, r.stall = body, s.name, cancel, stall
			return nil
		}
		stall.Stop()
		cancel()
		r.errs = append(r.errs, fmt.Errorf("%s: %w", s.name, err))
		if errors.Is(err, ErrNotFound) && !r.yielded[s.name] {
			r.sources = append(r.sources[:i:i], r.sources[i+1:]...)
			continue
		}
		r.breaks++
		r.next++
	}
	// The last reasons say most; earlier ones are the same again.
	return unobtained{errors.Join(r.errs[max(0, len(r.errs)-5):]...)}
}

// pause waits before the next round.
func (r *resuming) pause() error {
	t := time.NewTimer(resumePause << min(r.breaks-len(r.sources), 3))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// failed notes that the source broke off.
func (r *resuming) failed(err error) {
	r.errs = append(r.errs, fmt.Errorf("%s broke off after %d of %d bytes: %w", r.name, r.at, r.app.Size, err))
	r.breaks++
	r.next++
	r.close()
}

func (r *resuming) close() {
	if r.body == nil {
		return
	}
	r.stall.Stop()
	r.cancel()
	_ = r.body.Close() // it was only read
	r.body = nil
}
