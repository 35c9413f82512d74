package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSiteNormalize_Faults(t *testing.T) {
	var many []string
	for i := range MaxNames {
		many = append(many, fmt.Sprintf("n%d.test", i))
	}
	for hazard, c := range map[string]struct {
		site   Site
		fields []string
	}{
		"alias is the domain":           {Site{Domain: "a.test", Aliases: []string{"A.test"}}, []string{"aliases[0]"}},
		"alias stands twice":            {Site{Domain: "a.test", Aliases: []string{"b.test", "c.test", "B.TEST."}}, []string{"aliases[2]"}},
		"alias is reserved":             {Site{Domain: "a.test", Aliases: []string{"_default"}}, []string{"aliases[0]"}},
		"61 names":                      {Site{Domain: "a.test", Aliases: many}, []string{"aliases"}},
		"everything at once":            {Site{Domain: "", Aliases: []string{"*"}, TLS: &SiteTLS{Type: "x"}, App: &SiteApp{}}, []string{"domain", "aliases[0]", "tls.type", "app.name"}},
		"history":                       {Site{Domain: "a.test", History: []Deployment{{App: "b", SHA256: "12"}, {App: "../x", SHA256: strings.Repeat("0", 64)}}}, []string{"history[0].sha256", "history[1].app"}},
		"51 versions":                   {Site{Domain: "a.test", History: versions(51)}, []string{"history"}},
		"unknown type":                  {Site{Domain: "a.test", TLS: &SiteTLS{Type: "Imported"}}, []string{"tls.type"}},
		"imported without a name":       {Site{Domain: "a.test", TLS: &SiteTLS{Type: TLSImported}}, []string{"tls.cert"}},
		"imported from a parent folder": {Site{Domain: "a.test", TLS: &SiteTLS{Type: TLSImported, Certificate: "../x"}}, []string{"tls.cert"}},
		"key vault without a name":      {Site{Domain: "a.test", TLS: &SiteTLS{Type: TLSKeyVault}}, []string{"tls.cert"}},
		"key vault with a path":         {Site{Domain: "a.test", TLS: &SiteTLS{Type: TLSKeyVault, Certificate: "a/b"}}, []string{"tls.cert"}},
	} {
		faults := c.site.Normalize()
		var fields []string
		for _, f := range faults {
			fields = append(fields, f.Field)
		}
		if fmt.Sprint(fields) != fmt.Sprint(c.fields) {
			t.Errorf("%s: got %v, want %v", hazard, faults, c.fields)
		}
	}
}

func versions(n int) (list []Deployment) {
	for i := range n {
		list = append(list, Deployment{App: fmt.Sprintf("app-%d", i), SHA256: strings.Repeat("0", 64)})
	}
	return list
}

func TestSiteDeploy_KeepsTheNewestVersions(t *testing.T) {
	bundle := func(name string) *App { return &App{Name: name, SHA256: strings.Repeat("0", 64)} }
	s := &Site{Domain: "a.test", App: &SiteApp{Name: "before"}} // by a version that kept no history
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	history := func() (names string) {
		for _, v := range s.History {
			names += v.App + " "
		}
		return names
	}
	before := bundle("before")
	for _, step := range []struct{ app, want, previous string }{
		{"one", "one before ", "before"},
		{"two", "two one before ", "one"},
		{"three", "three two one ", "two"},
		{"two", "two three one ", "three"}, // going back, and again
		{"three", "three two one ", "two"},
		{"three", "three two one ", "two"},
	} {
		s.Deploy(bundle(step.app), before, at, 3)
		before = bundle(step.app)
		if v, ok := s.Previous(); history() != step.want || !ok || v.App != step.previous || s.AppName() != step.app {
			t.Fatalf("after %s: %q, back to %q; want %q, back to %q", step.app, history(), v.App, step.want, step.previous)
		}
		if got := s.History[0].Time; !got.Equal(at.Truncate(time.Second)) {
			t.Fatalf("deployed at %v", got)
		}
	}
	s.App = nil
	if v, ok := s.Previous(); !ok || v.App != "three" {
		t.Errorf("without an app, back to %q", v.App)
	}
}

func TestSiteNormalize_StoredForm(t *testing.T) {
	for hazard, c := range map[string][2]string{
		"no TLS":                  {`{"domain":"A.test","aliases":null}`, `{"domain":"a.test","aliases":null,"tls":{"type":"selfsigned"},"app":null}`},
		"TLS null":                {`{"domain":"a.test","tls":null,"aliases":[]}`, `{"domain":"a.test","aliases":[],"tls":{"type":"selfsigned"},"app":null}`},
		"what has no meaning":     {`{"domain":"a.test","tls":{"type":"acme","cert":"x","ver":"1"}}`, `{"domain":"a.test","aliases":null,"tls":{"type":"acme"},"app":null}`},
		"imported has no version": {`{"domain":"a.test","tls":{"type":"imported","cert":"Wild","ver":"1"},"app":{"name":"Docs"}}`, `{"domain":"a.test","aliases":null,"tls":{"type":"imported","cert":"wild"},"app":{"name":"docs"}}`},
		"key vault":               {`{"domain":"a.test","temporary":true,"tls":{"type":"akv","cert":"Wild","ver":"1"}}`, `{"domain":"a.test","aliases":null,"temporary":true,"tls":{"type":"akv","cert":"Wild","ver":"1"},"app":null}`},
		"history":                 {`{"domain":"a.test","app":{"name":"b"},"history":[{"app":"B","sha256":"` + strings.Repeat("Aa", 32) + `","time":"2026-01-02T03:04:05.6+01:00","x":1},{"app":"c","sha256":"` + strings.Repeat("00", 32) + `"}],"created":"2026-01-02T03:04:05.9Z"}`, `{"domain":"a.test","aliases":null,"tls":{"type":"selfsigned"},"app":{"name":"b"},"history":[{"app":"b","sha256":"` + strings.Repeat("aa", 32) + `","time":"2026-01-02T02:04:05Z","x":1},{"app":"c","sha256":"` + strings.Repeat("00", 32) + `"}],"created":"2026-01-02T03:04:05Z"}`},
		"unknown members":         {`{"z":1,"domain":"a.test","tls":{"type":"acme","new":true},"app":{"name":"a","x":"<&>"},"a":{"b":[]}}`, `{"domain":"a.test","aliases":null,"tls":{"type":"acme","new":true},"app":{"name":"a","x":"<&>"},"a":{"b":[]},"z":1}`},
	} {
		s := &Site{}
		if err := s.UnmarshalJSON([]byte(c[0])); err != nil {
			t.Errorf("%s: %v", hazard, err)
			continue
		}
		if faults := s.Normalize(); len(faults) > 0 {
			t.Errorf("%s: %v", hazard, faults)
		}
		if got, err := s.MarshalJSON(); err != nil || string(got) != c[1] {
			t.Errorf("%s: got %s, %v\nwant %s", hazard, got, err, c[1])
		}
		if got, err := s.Clone().MarshalJSON(); err != nil || string(got) != c[1] {
			t.Errorf("%s: the clone is %s, %v", hazard, got, err)
		}
	}
}

// Weakness W11 of the earlier program: changed aliases were answered but not stored, and faulty ones accepted.
func TestW11_AliasesAreStoredOrRefused(t *testing.T) {
	base := with(t, NewSnapshot(Head{}, 1), func(d *Draft) error {
		return d.Put(&Site{Domain: "a.test", Aliases: []string{"b.test", "c.test"}})
	})
	base = with(t, base, func(d *Draft) error {
		s, _ := d.Site("a.test")
		s = s.Clone()
		s.Aliases = nil
		return d.Put(s)
	})
	if s, _ := base.Site("a.test"); s.Aliases != nil {
		t.Fatalf("the aliases are %v", s.Aliases)
	}
	if _, ok := base.Site("b.test"); ok {
		t.Fatal("b.test still leads to the site")
	}
	for _, aliases := range [][]string{{"_default"}, {"x.test", "x.test"}, {"a.test"}} {
		d := newDraft(base)
		if err := d.Put(&Site{Domain: "a.test", Aliases: aliases}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", aliases, err)
		}
		if len(d.writes) != 0 {
			t.Errorf("%v: something is written", aliases)
		}
	}
}

// with returns the snapshot after a change, as a store would make it.
func with(t testing.TB, s *Snapshot, change func(*Draft) error) *Snapshot {
	t.Helper()
	d := newDraft(s)
	if err := change(d); err != nil {
		t.Fatal(err)
	}
	txn, err := d.txn(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !txn.Holds(s) {
		t.Fatal("the transaction does not hold on its own base")
	}
	if len(txn.Writes) == 0 {
		return s
	}
	b := s.Build()
	txn.Apply(b, s.Revision()+1)
	return b.Snapshot(s.Revision() + 1)
}
