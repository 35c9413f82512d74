package reconcile

import (
	"fmt"

	"statiko/state"
)

// Applied is what is served for one site: the parts that decide whether there is something to do.
type Applied struct {
	// Site is the revision of the site's object.
	Site int64
	// Pair is the name of the secret that holds the certificate, and PairRevision its revision.
	Pair         string
	PairRevision int64
	// SHA256 is the served bundle's; "" for the placeholder page.
	SHA256 string
	// Uploaded is the Unix time that the bundle's files carry.
	Uploaded int64
}

// Action is what a [Step] does.
type Action int

// The actions, in the order in which steps are carried out.
const (
	// Stage has a bundle unpacked, beside what is served.
	Stage Action = iota
	// Serve makes a site answer as Step says.
	Serve
	// Hold leaves a site as it is, because something is missing.
	Hold
	// Remove stops serving a domain.
	Remove
)

func (a Action) String() string {
	return [...]string{"stage", "serve", "hold", "remove"}[a]
}

// Step is one thing to do, and why.
type Step struct {
	Action Action
	// Domain is the site's; empty for Stage.
	Domain string
	// App is the bundle to stage or to serve; nil for none.
	App *state.App
	// Site is the site as the state has it; nil for Stage and Remove.
	Site *state.Site
	// Want is what will be applied by Serve.
	Want Applied
	// KeepContent and KeepPair serve the bundle or the certificate that is served already, in place of one that
	// is not to be had now.
	KeepContent, KeepPair bool
	// Reason says why, for people.
	Reason string
	// Problem is what keeps the site from being as the state asks; "" for nothing.
	Problem string
	// Waiting tells that Problem is expected to go by itself soon.
	Waiting bool
	// Remark is worth telling although nothing is wrong.
	Remark string
}

// View is what a plan is made from.
type View struct {
	Snapshot *state.Snapshot
	// Applied returns what is served for a domain.
	Applied func(domain string) (Applied, bool)
	// Staged says how a bundle is on this node's disk.
	Staged func(app *state.App) Staged
	// PairFor says which secret holds the certificate of a site, and a remark about it.
	PairFor func(*state.Snapshot, *state.Site) (secret, remark string)
}

// Staged tells how a bundle is on this node's disk.
type Staged struct {
	// Ready tells that it can be served.
	Ready bool
	// Err is why it cannot be had; nil if that is not known or it is being unpacked.
	Err error
}

// Plan returns what has to be done so that the named domains, sites of the state or not, are served as the state
// asks. It is pure: equal views give equal plans, and a view of what a plan has led to gives none but Hold steps
// for what is still missing. Steps to stage come first, then one step at most for each domain, in the order given.
func Plan(v View, domains []string) []Step {
	v.Staged = askOnce(v.Staged)
	var stage, rest []Step
	staging := map[string]bool{}
	for _, d := range domains {
		step, ok, needs := planSite(v, d)
		if needs != nil && !staging[needs.SHA256] {
			staging[needs.SHA256] = true
			stage = append(stage, Step{Action: Stage, App: needs, Reason: "the site " + d + " serves it"})
		}
		if ok {
			rest = append(rest, step)
		}
	}
	return append(stage, rest...)
}

// askOnce asks about each bundle once: many sites share a few, and each answer takes a look at the disk.
func askOnce(ask func(*state.App) Staged) func(*state.App) Staged {
	answers := map[*state.App]Staged{}
	return func(app *state.App) Staged {
		answer, known := answers[app]
		if !known {
			answer = ask(app)
			answers[app] = answer
		}
		return answer
	}
}

// planSite plans one domain, and says which bundle has to be staged for it.
func planSite(v View, domain string) (step Step, ok bool, needs *state.App) {
	have, served := v.Applied(domain)
	o, exists := v.Snapshot.Object(state.Key{Kind: state.KindSite, Name: domain})
	if !exists {
		return Step{Action: Remove, Domain: domain, Reason: "it is no longer in the state"}, served, nil
	}
	site := o.(*state.Site)
	step = Step{Action: Serve, Domain: domain, Site: site}
	step.Want.Site = v.Snapshot.RevisionOf(site.Key())

	needs = planContent(v, &step, have)
	planPair(v, &step, have, served)
	if step.Want.Pair == "" {
		step.Action, step.Reason = Hold, step.Problem
		return step, true, needs
	}
	if step.KeepContent && !served {
		step.Reason = "nothing is served yet"
	} else if served && step.Want == have {
		step.Action, step.Reason = Hold, step.Problem
		return step, step.Problem != "", needs
	} else {
		step.Reason = difference(have, step.Want, served)
	}
	return step, true, needs
}

// planContent decides what the site serves.
func planContent(v View, step *Step, have Applied) (needs *state.App) {
	name := step.Site.AppName()
	if name == "" {
		return nil
	}
	app, ok := v.Snapshot.App(name)
	if !ok {
		step.problem(false, fmt.Sprintf("the bundle %q is missing: upload it, or deploy another", name))
		step.keepContent(have)
		return nil
	}
	switch st := v.Staged(app); {
	case st.Ready:
		step.App = app
		step.Want.SHA256, step.Want.Uploaded = app.SHA256, app.Uploaded.Unix()
		return nil
	case st.Err != nil:
		step.problem(false, fmt.Sprintf("the bundle %q cannot be served: %v", name, st.Err))
	default:
		step.problem(true, fmt.Sprintf("the bundle %q is being unpacked", name))
	}
	step.keepContent(have)
	return app
}

func (s *Step) keepContent(have Applied) {
	s.KeepContent = true
	s.Want.SHA256, s.Want.Uploaded = have.SHA256, have.Uploaded
}

// planPair decides which certificate the site presents.
func planPair(v View, step *Step, have Applied, served bool) {
	name, remark := v.PairFor(v.Snapshot, step.Site)
	if rev := v.Snapshot.RevisionOf(state.Key{Kind: state.KindSecret, Name: name}); rev != 0 {
		step.Want.Pair, step.Want.PairRevision = name, rev
		step.Remark = remark
		return
	}
	if step.Site.TLS.Type == state.TLSImported {
		step.problem(false, fmt.Sprintf("the imported certificate %q is missing: import it, or choose another", step.Site.TLS.Certificate))
	} else {
		step.problem(true, "it waits for the leader to make its certificate")
	}
	// A restore takes away what is served too: then there is nothing to serve the site with, and it stays as it is.
	if served && v.Snapshot.RevisionOf(state.Key{Kind: state.KindSecret, Name: have.Pair}) != 0 {
		step.KeepPair = true
		step.Want.Pair, step.Want.PairRevision = have.Pair, have.PairRevision
	}
}

// problem notes what is missing; what will not go by itself weighs more.
func (s *Step) problem(waiting bool, text string) {
	if s.Problem == "" || s.Waiting && !waiting {
		s.Problem, s.Waiting = text, waiting
	}
}

func difference(have, want Applied, served bool) string {
	switch {
	case !served:
		return "it is new"
	case have.SHA256 != want.SHA256 || have.Uploaded != want.Uploaded:
		return "its bundle changed"
	case have.Pair != want.Pair || have.PairRevision != want.PairRevision:
		return "its certificate changed"
	default:
		return "its settings changed"
	}
}
