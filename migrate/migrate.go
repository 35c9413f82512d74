package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"statiko/filestore"
	"statiko/state"
)

// Options say what to move. From and To are required.
type Options struct {
	From, To Place
	// DryRun finds out what would happen, and changes nothing.
	DryRun bool
	// Replace allows a target that has a state already to lose it.
	Replace bool
	// Confirm is asked, if not nil, before a target that has sites or imported certificates is replaced. Its error
	// ends the migration.
	Confirm func(*Report) error
	// Progress is told, if not nil, of each step.
	Progress func(format string, args ...any)
	// Log may be nil.
	Log *zap.Logger

	// after is told of each step that is done; for tests that end the process there.
	after func(step string)
}

// maxCopies bounds how often a source that is being changed is copied.
const maxCopies = 5

// Run moves the state. It returns a report, also with an error as far as it came; a [*Refusal] is an error that needs
// somebody's decision, before which nothing was changed. See the package's comment for what is guaranteed.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	if o.after == nil {
		o.after = func(string) {}
	}
	m := &migration{Options: o, report: &Report{From: o.From.String(), To: o.To.String()}}
	err := m.run(ctx)
	return m.report, err
}

// migration is one run.
type migration struct {
	Options
	report *Report
	source source
	target target
	// text is the source's document, digest what names it.
	text   []byte
	digest string
	doc    *state.Document
	// there is what the target had when it was judged; equal tells that those are the objects of the source.
	there *state.Snapshot
	equal bool
}

func (m *migration) run(ctx context.Context) (err error) {
	if m.samePlace() {
		return refuse("name two configurations that keep their state in different places", "source and target are the same: %s", m.From)
	}
	if m.source, err = openSource(ctx, m.From, &m.Options); err != nil {
		return fmt.Errorf("open the source: %w", err)
	}
	defer func() { err = errors.Join(err, closing("source", m.source.close())) }()
	if err := m.readSource(); err != nil {
		return err
	}
	m.after("read")
	if m.target, err = openTarget(ctx, m.To, &m.Options); err != nil {
		return fmt.Errorf("open the target: %w", err)
	}
	defer func() { err = errors.Join(err, closing("target", m.target.close())) }()
	if m.source.id() != "" && m.source.id() == m.target.id() {
		return refuse("", "source and target are the same state, in %s and %s", m.From, m.To)
	}
	done, err := m.judge()
	if done || err != nil {
		return err
	}
	return m.move(ctx)
}

func closing(what string, err error) error {
	if err != nil {
		return fmt.Errorf("close the %s: %w", what, err)
	}
	return nil
}

func (m *migration) samePlace() bool {
	if m.From.File == "" || m.To.File == "" {
		return false // two places in etcd are told apart by the id of their state
	}
	a, b := m.From.resolved(), m.To.resolved()
	if a == b {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// readSource makes everything that is needed of the source, and checks it.
func (m *migration) readSource() (err error) {
	s := m.source.snapshot()
	if m.text, err = text(s); err != nil {
		return err
	}
	if m.digest, err = filestore.Digest(s); err != nil {
		return err
	}
	if m.doc, err = documentOf(s); err != nil {
		return &Refusal{Message: "the source's state has faults that a restore does not take", Hint: "correct them with stkcli on the node that uses it, and run this again", Cause: err}
	}
	damaged, err := checkKeys(s, m.From.Keyring, m.To.Keyring)
	if err != nil {
		return err
	}
	r := m.report
	r.count(s)
	r.Bytes, r.Digest, r.KeyID = len(m.text), m.digest, m.doc.KeyID
	r.Warnings = append(r.Warnings[:0:0], m.source.warnings()...)
	if len(damaged) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s cannot be opened with any key of the source's configuration, such as %s; copied as they are",
			plural(len(damaged), "secret"), damaged[0]))
	}
	if n := s.Len(state.KindApp); n > 0 && m.From.Repository != m.To.Repository {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the archives of the %s stay in %s; the target's configuration names %s, where they have to be copied to",
			plural(n, "bundle"), m.From.Repository, m.To.Repository))
	}
	m.Progress("read the state of %s: %s, %d bytes", m.From, plural(s.Len(state.KindSite), "site"), len(m.text))
	return nil
}

// judge finds out what is to be done, and tells whether it is done already.
func (m *migration) judge() (done bool, err error) {
	m.there = m.target.snapshot()
	there := m.there
	theirs, err := text(there)
	if err != nil {
		return false, err
	}
	m.equal = bytes.Equal(m.text, theirs)
	m.report.compare(there, m.source.snapshot())
	if marker := m.source.marker(); marker != nil {
		if done, err := m.judgeMoved(marker, occupied(there)); done || err != nil {
			return done, err
		}
	}
	if m.equal && m.From.File == "" && m.target.marker() == nil && occupied(there) != "" {
		m.report.Result = ResultAlready
		m.Progress("the target has the same state already; nothing was changed")
		return true, nil
	}
	taken := occupied(there)
	switch {
	case taken == "" || m.equal || m.superseded():
	case !m.Replace:
		return false, refuse("if what the target has may be lost, add --replace; --dry-run shows what would change",
			"the target has a state already: %s in %s", taken, m.To)
	case m.Confirm != nil && !m.DryRun:
		if err := m.Confirm(m.report); err != nil {
			return false, err
		}
	}
	if m.DryRun {
		m.report.Result = ResultWould
		return true, nil
	}
	return false, nil
}

// judgeMoved looks at a source that was moved before.
func (m *migration) judgeMoved(marker *filestore.Marker, taken string) (done bool, err error) {
	to := fmt.Sprintf("the state in %s was moved to %s on %s", m.From, marker.Target, marker.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	changed := marker.Digest != m.digest
	here := marker.Target == m.To.String()
	if marker.TargetID != "" && m.target.id() != "" {
		here = marker.TargetID == m.target.id()
	}
	switch {
	case m.Replace:
		return false, nil
	case !here:
		return false, refuse("move it on from there; or, to move this older state nevertheless, add --replace", "%s", to)
	case m.equal, taken != "" && !changed:
		m.report.Result = ResultAlready
		if m.equal {
			m.Progress("%s, which has the same still; nothing was changed", to)
		} else {
			m.report.Warnings = append(m.report.Warnings, "the target was changed since; the differences are those of the source, which is not in force any more")
			m.Progress("%s, and was changed there since; nothing was changed now", to)
		}
		return true, nil
	case changed:
		return false, refuse("if the file is what is to be in force, add --replace", "%s, and the file was changed since", to)
	}
	return false, refuse("to move it there again, add --replace", "%s, where there is nothing now", to)
}

// superseded tells whether the target is a file whose state was moved to the source, and was not changed since: an
// older version of what replaces it.
func (m *migration) superseded() bool {
	marker := m.target.marker()
	if marker == nil {
		return false
	}
	digest, err := filestore.Digest(m.there)
	if err != nil || digest != marker.Digest {
		return false
	}
	if marker.TargetID != "" && m.source.id() != "" {
		return marker.TargetID == m.source.id()
	}
	return marker.Target == m.From.String()
}

// move copies, compares, and puts the target in force, in an order in which every step may be the last.
func (m *migration) move(ctx context.Context) error {
	if occupied(m.there) != "" && !m.equal {
		kept, err := m.target.keep()
		if err != nil {
			return err
		}
		if m.report.Kept = kept; kept != "" {
			m.Progress("kept what the target had as %s", kept)
		}
	}
	revision := m.there.Revision()
	for range maxCopies {
		var err error
		if revision, err = m.copy(ctx, revision); err != nil {
			return err
		}
		err = m.source.verify(ctx, m.digest)
		if err == nil {
			return m.settle(ctx)
		}
		if !errors.Is(err, errChanged) {
			return fmt.Errorf("look at the source again: %w; it is in force as before", err)
		}
		m.Progress("the source was changed meanwhile: copying it again")
		if err := m.readSource(); err != nil {
			return err
		}
		m.equal = false
	}
	return fmt.Errorf("the source was changed each of %d times that it was copied; stop the nodes that use it, and run this again", maxCopies)
}

// settle puts the target in force instead of the source.
func (m *migration) settle(ctx context.Context) error {
	m.after("verified")
	if err := m.target.release(); err != nil {
		return fmt.Errorf("put the target in force: %w; the source is in force as before", err)
	}
	m.after("released")
	err := m.source.mark(ctx, filestore.Marker{
		Time: time.Now().UTC(), Target: m.To.String(), TargetID: m.target.id(), KeyID: m.doc.KeyID,
		Revision: m.source.snapshot().Revision(), Digest: m.digest,
	})
	if err != nil {
		return fmt.Errorf("%w; the source is in force as before", err)
	}
	m.after("marked")
	m.finish()
	return nil
}

// copy makes the target equal to the source, if nobody has changed it since the revision, and returns its new one.
func (m *migration) copy(ctx context.Context, revision int64) (int64, error) {
	if !m.equal {
		restored, err := m.target.restore(ctx, m.doc, revision)
		switch {
		case errors.Is(err, state.ErrPrecondition):
			return 0, &Refusal{Message: "the target was changed while the source was being read; nothing was copied", Hint: "run this again", Cause: err}
		case err != nil:
			return 0, fmt.Errorf("copy the state: %w", err)
		}
		revision = restored
		m.Progress("copied it to %s", m.To)
	}
	m.after("copied")
	there := m.target.snapshot()
	theirs, err := text(there)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(m.text, theirs) {
		return 0, fmt.Errorf("the target does not have what was copied to it (%s); the source is in force as before", difference(m.text, theirs))
	}
	if id := there.Head().KeyID; id != m.doc.KeyID && !m.To.Keyring.Knows(id) {
		return 0, fmt.Errorf("the target says that its key is %s; the source is in force as before", id)
	}
	m.Progress("compared both: they are equal byte for byte (SHA-256 %s)", m.digest)
	m.after("compared")
	return revision, nil
}

// finish says what is to be done now.
func (m *migration) finish() {
	r := m.report
	r.Result = ResultMigrated
	if n, ok := m.source.(*nodeSource); ok {
		r.Frozen = true
		r.Next = append(r.Next, fmt.Sprintf("stop the node at %s, which refuses changes until then", n.client.Address()))
	}
	if m.From.File == "" {
		r.Next = append(r.Next, "leave the nodes that use etcd stopped: what they change there is not in the file")
	}
	r.Next = append(r.Next, "start the node with the target's configuration")
	if m.report.Objects[string(state.KindApp)] > 0 {
		r.Next = append(r.Next, "see that each node reaches the repository: the bundles' archives were not moved")
	}
	m.Progress("%s is in force now", m.To)
}
