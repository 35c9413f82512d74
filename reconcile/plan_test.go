package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"statiko/state"
)

// view makes a View of a state that has the objects, at revision 10, and what is applied and staged.
func view(t *testing.T, applied map[string]Applied, staged map[string]Staged, objects ...state.Object) View {
	t.Helper()
	b := state.NewSnapshot(state.Head{}, 0).Build()
	for _, o := range objects {
		b.Put(o, 10)
	}
	return View{
		Snapshot: b.Snapshot(10),
		Applied:  func(d string) (Applied, bool) { a, ok := applied[d]; return a, ok },
		Staged:   func(a *state.App) Staged { return staged[a.Name] },
		PairFor: func(_ *state.Snapshot, s *state.Site) (string, string) {
			if s.TLS.Type == state.TLSACME {
				return "pair/" + s.Domain, "self-signed for now"
			}
			return "pair/" + s.Domain, ""
		},
	}
}

func TestPlan(t *testing.T) {
	uploaded := time.Unix(1000, 0)
	app := &state.App{Name: "v2", SHA256: "22", Uploaded: uploaded}
	bare := &state.Site{Domain: "a.test", TLS: &state.SiteTLS{Type: state.TLSSelfSigned}}
	withApp := bare.Clone()
	withApp.App = &state.SiteApp{Name: "v2"}
	acme := bare.Clone()
	acme.TLS.Type = state.TLSACME
	imported := bare.Clone()
	imported.TLS = &state.SiteTLS{Type: state.TLSImported, Certificate: "wild"}
	pair := &state.Secret{Name: "pair/a.test"}
	ready := map[string]Staged{"v2": {Ready: true}}
	good := Applied{Site: 10, Pair: "pair/a.test", PairRevision: 10}
	goodApp := Applied{Site: 10, Pair: "pair/a.test", PairRevision: 10, SHA256: "22", Uploaded: 1000}
	oldApp := Applied{Site: 5, Pair: "pair/a.test", PairRevision: 10, SHA256: "11", Uploaded: 900}

	for _, tt := range []struct {
		name    string
		applied map[string]Applied
		staged  map[string]Staged
		objects []state.Object
		// want has one line a step: action, what is kept, and a part of the reason or problem.
		want []string
	}{
		{"nothing to do", map[string]Applied{"a.test": good}, nil, []state.Object{bare, pair}, nil},
		{"unknown domain", nil, nil, nil, nil},
		{"new site", nil, nil, []state.Object{bare, pair}, []string{"serve: it is new"}},
		{"new site waits for its certificate", nil, nil, []state.Object{bare}, []string{"hold waiting: waits for the leader"}},
		{"site gone", map[string]Applied{"a.test": good}, nil, nil, []string{"remove: no longer"}},
		{"settings changed", map[string]Applied{"a.test": {Site: 9, Pair: "pair/a.test", PairRevision: 10}}, nil,
			[]state.Object{bare, pair}, []string{"serve: settings changed"}},
		{"certificate renewed", map[string]Applied{"a.test": {Site: 10, Pair: "pair/a.test", PairRevision: 3}}, nil,
			[]state.Object{bare, pair}, []string{"serve: certificate changed"}},
		{"names changed, new certificate still missing: served with the old one",
			map[string]Applied{"a.test": {Site: 9, Pair: "pair/old", PairRevision: 3}}, nil,
			[]state.Object{bare, &state.Secret{Name: "pair/old"}}, []string{"serve keep-pair waiting: waits for the leader"}},
		{"names changed by a restore, which took the old certificate away: it stays as it is",
			map[string]Applied{"a.test": {Site: 9, Pair: "pair/old", PairRevision: 3}}, nil,
			[]state.Object{bare}, []string{"hold waiting: waits for the leader"}},
		{"and once that is done it is only waited for",
			map[string]Applied{"a.test": {Site: 10, Pair: "pair/old", PairRevision: 3}}, nil,
			[]state.Object{bare}, []string{"hold waiting: waits for the leader"}},
		{"imported certificate gone", map[string]Applied{"a.test": good}, nil, []state.Object{imported},
			[]string{"hold: imported certificate \"wild\" is missing"}},
		{"deploy switches", map[string]Applied{"a.test": oldApp}, ready, []state.Object{withApp, app, pair},
			[]string{"serve: bundle changed"}},
		{"deployed and done", map[string]Applied{"a.test": goodApp}, ready, []state.Object{withApp, app, pair}, nil},
		{"bundle not unpacked yet: the last one is kept", map[string]Applied{"a.test": oldApp}, nil,
			[]state.Object{withApp, app, pair}, []string{"stage: a.test", "serve keep-content waiting: being unpacked"}},
		{"bundle broken: the last one is kept", map[string]Applied{"a.test": oldApp},
			map[string]Staged{"v2": {Err: errors.New("damaged")}},
			[]state.Object{withApp, app, pair}, []string{"stage: a.test", "serve keep-content: damaged"}},
		{"bundle not in the state", map[string]Applied{"a.test": oldApp}, nil,
			[]state.Object{withApp, pair}, []string{"serve keep-content: \"v2\" is missing"}},
		{"nothing served yet and a broken bundle", nil, map[string]Staged{"v2": {Err: errors.New("damaged")}},
			[]state.Object{withApp, app, pair}, []string{"stage: a.test", "serve keep-content: damaged"}},
		{"undeployed", map[string]Applied{"a.test": goodApp}, nil, []state.Object{bare, pair}, []string{"serve: bundle changed"}},
		{"a remark is no problem", nil, nil, []state.Object{acme, pair}, []string{"serve remark: it is new"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			steps := Plan(view(t, tt.applied, tt.staged, tt.objects...), []string{"a.test"})
			if len(steps) != len(tt.want) {
				t.Fatalf("got %d steps %+v, want %q", len(steps), steps, tt.want)
			}
			for i, s := range steps {
				got := s.Action.String()
				for flag, on := range map[string]bool{"keep-pair": s.KeepPair, "keep-content": s.KeepContent} {
					if on && s.Action == Serve {
						got += " " + flag
					}
				}
				if s.Waiting {
					got += " waiting"
				}
				if s.Remark != "" {
					got += " remark"
				}
				head, part, _ := strings.Cut(tt.want[i], ": ")
				if got != head {
					t.Errorf("step %d is %q, want %q", i, got, head)
				}
				if !strings.Contains(s.Reason+s.Problem, part) {
					t.Errorf("step %d: neither reason %q nor problem %q has %q", i, s.Reason, s.Problem, part)
				}
			}
		})
	}
}

// An answer about a bundle takes a look at the disk, and ten bundles may be those of 100,000 sites.
func TestPlan_AsksOnceAboutABundleOfManySites(t *testing.T) {
	objects := []state.Object{&state.App{Name: "v1", SHA256: "11"}, &state.App{Name: "v2", SHA256: "22"}}
	var domains []string
	for i := range 10 {
		domain := fmt.Sprintf("s%d.test", i)
		domains = append(domains, domain)
		objects = append(objects, &state.Secret{Name: "pair/" + domain},
			&state.Site{Domain: domain, TLS: &state.SiteTLS{Type: state.TLSSelfSigned}, App: &state.SiteApp{Name: fmt.Sprintf("v%d", 1+i%2)}})
	}
	v := view(t, nil, nil, objects...)
	asked := map[string]int{}
	v.Staged = func(app *state.App) Staged { asked[app.Name]++; return Staged{Ready: true} }
	if steps := Plan(v, domains); len(steps) != len(domains) {
		t.Errorf("%d steps", len(steps))
	}
	if want := map[string]int{"v1": 1, "v2": 1}; !maps.Equal(asked, want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
}

// A plan that was carried out leaves nothing to do but to wait for what is missing.
func TestPlan_SecondRunPlansNothing(t *testing.T) {
	site := &state.Site{Domain: "a.test", TLS: &state.SiteTLS{Type: state.TLSSelfSigned}, App: &state.SiteApp{Name: "v2"}}
	objects := []state.Object{site, &state.Secret{Name: "pair/a.test"}, &state.App{Name: "v2", SHA256: "22"}}
	ready := map[string]Staged{"v2": {Ready: true}}
	first := Plan(view(t, nil, ready, objects...), []string{"a.test"})
	if len(first) != 1 || first[0].Action != Serve {
		t.Fatalf("first plan: %+v", first)
	}
	if second := Plan(view(t, map[string]Applied{"a.test": first[0].Want}, ready, objects...), []string{"a.test"}); len(second) != 0 {
		t.Errorf("second plan is not empty: %+v", second)
	}
}
