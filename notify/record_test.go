package notify

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"statiko/state"
)

func TestRecord_RefusesFaultyEvents(t *testing.T) {
	s := newMemStore(t)
	for name, change := range map[string]func(*Event){
		"no id": func(e *Event) { e.ID = "" }, "line break in the id": func(e *Event) { e.ID = "a\r\nX-Evil: 1" },
		"blank in the id": func(e *Event) { e.ID = "a b" }, "long id": func(e *Event) { e.ID = strings.Repeat("a", 401) },
		"no text": func(e *Event) { e.Text = "" }, "no type": func(e *Event) { e.Type = "" },
		"no time": func(e *Event) { e.Created = time.Time{} },
	} {
		e := event("e")
		change(&e)
		_, err := s.Update(t.Context(), func(d *state.Draft) error { _, err := Record(d, e); return err })
		if !errors.Is(err, state.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e := event("e")
	e.Text = strings.Repeat("ä\n", 3000) + "\xff"
	record(t, s, e)
	o, _ := s.Snapshot().Object(outboxKey("e"))
	if got, err := readEntry(o); err != nil || len(got.Text) > maxText || strings.ContainsAny(got.Text, "\n\uFFFD") {
		t.Errorf("%v: %d bytes", err, len(got.Text))
	}
}

func TestNoticed(t *testing.T) {
	s := newMemStore(t)
	set := func(about, what string) {
		t.Helper()
		if _, err := s.Update(t.Context(), func(d *state.Draft) error { return SetNoticed(d, about, what) }); err != nil {
			t.Fatal(err)
		}
	}
	set("site/a.example", "unhealthy")
	set("site/b.example", "unhealthy")
	set("node/a", "gone")
	set("site/a.example", "healthy")
	set("site/b.example", "")
	set("site/b.example", "")
	var got []string
	for about, what := range AllNoticed(s.Snapshot(), "site/") {
		got = append(got, about+"="+what)
	}
	if !slices.Equal(got, []string{"site/a.example=healthy"}) {
		t.Errorf("%v", got)
	}
	if what, ok := NoticedIn(s.Snapshot(), "node/a"); !ok || what != "gone" {
		t.Errorf("%q %v", what, ok)
	}
	if n, _ := Pending(s.Snapshot()); n != 0 {
		t.Errorf("marks count as events: %d", n)
	}
}
