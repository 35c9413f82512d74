package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statiko/state"
	"statiko/state/storetest"
)

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestDuty_DeliversEachOnceTheOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{takes: time.Second}
		records(t, s, 0, 3)
		late := event("a-late-one")
		late.Created = time.Now().Add(time.Minute)
		record(t, s, late)
		g := begin(t, Options{Store: s, Sender: r})
		defer g.end()
		pass(10 * time.Second)
		records(t, s, 10, 1)
		pass(2 * time.Second)
		if want := []string{"e000", "e001", "e002", "a-late-one", "e010"}; !slices.Equal(r.ids(), want) {
			t.Fatalf("%v, want %v", r.ids(), want)
		}
		commits := s.commits.Load()
		pass(24 * time.Hour)
		if n := s.commits.Load() - commits; n != 0 {
			t.Errorf("%d commits in a day in which nothing happened", n)
		}
		if n, _ := Pending(s.Snapshot()); n != 0 || len(r.ids()) != 5 {
			t.Errorf("%d are pending, %d were sent", n, len(r.ids()))
		}
	})
}

// What is recorded while the duty begins is delivered, and not only when something else changes.
func TestDuty_NothingIsMissedAsItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{}
		g := begin(t, Options{Store: &storetest.Changing{Store: s, Change: func() { record(t, s, event("e")) }}, Sender: r})
		defer g.end()
		pass(time.Second)
		if r.count("e") != 1 {
			t.Error("it is not delivered")
		}
	})
}

// W66: the earlier program repeated the notice of each failing site at each sync.
func TestW66_NoticedAgainAndAgainIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{}
		g := begin(t, Options{Store: s, Sender: r})
		defer g.end()
		for range 50 {
			record(t, s, event("site/a.example/unhealthy/7"))
			pass(time.Hour)
		}
		if n := r.count("site/a.example/unhealthy/7"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// W66: the earlier program never tried again.
func TestW66_RetriedWithBackoffForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore(t)
		var mu sync.Mutex
		var all []time.Time
		began := time.Now()
		r := &receiver{refuse: func(Event) error {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, time.Now())
			if time.Since(began) < 3*24*time.Hour+time.Minute {
				return &SendError{Host: "h.example", Status: 503, Reason: "it answered with status 503"}
			}
			return nil
		}}
		record(t, s, event("e"))
		g := begin(t, Options{Store: s, Sender: r})
		defer g.end()
		pass(10 * time.Minute)
		if n := r.tried(); n < 5 || n > 12 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		pass(3*24*time.Hour + time.Hour)
		if r.count("e") != 1 {
			t.Fatalf("not delivered after three days and %d attempts", r.tried())
		}
		mu.Lock()
		times := slices.Clone(all)
		mu.Unlock()
		if n := len(times); n > 3*24*6 || n < 3*24*3 {
			t.Errorf("%d attempts in three days", n)
		}
		first := times[1].Sub(times[0])
		last := times[len(times)-2].Sub(times[len(times)-3])
		if first > 10*time.Second || last < 10*time.Minute {
			t.Errorf("pauses of %v at first, %v at last", first, last)
		}
	})
}

func TestDuty_GivesUpAfterAWeekAndForgetsAfterAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore(t)
		r := &receiver{refuse: func(e Event) error {
			if e.ID == "good" {
				return nil
			}
			return errors.New("away")
		}}
		record(t, s, event("bad"), event("good"))
		g := begin(t, Options{Store: s, Sender: r})
		defer g.end()
		pass(6 * 24 * time.Hour)
		if n, oldest := Pending(s.Snapshot()); n != 1 || time.Since(oldest) < 6*24*time.Hour {
			t.Fatalf("%d are pending after six days", n)
		}
		pass(2 * 24 * time.Hour)
		if n, _ := Pending(s.Snapshot()); n != 0 {
			t.Error("not given up after eight days")
		}
		attempts := r.tried()
		record(t, s, event("bad"), event("good"))
		pass(21 * 24 * time.Hour)
		if r.tried() != attempts || s.Snapshot().Len(state.KindEvent) != 2 {
			t.Errorf("recorded anew within the month: %d attempts more", r.tried()-attempts)
		}
		pass(2 * 24 * time.Hour)
		if n := s.Snapshot().Len(state.KindEvent); n != 0 {
			t.Errorf("%d events after a month", n)
		}
	})
}

func TestDuty_OutboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{}
		for i := range 30 {
			_, err := s.Update(t.Context(), func(d *state.Draft) error {
				for j := range 40 {
					e := event(fmt.Sprintf("e%04d", i*40+j))
					e.Created = e.Created.Add(time.Duration(i*40+j) * time.Second)
					if _, err := Record(d, e); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		g := begin(t, Options{Store: s, Sender: r})
		defer g.end()
		pass(2 * pruneEvery)
		if n := s.Snapshot().Len(state.KindEvent); n != maxFinished || r.different() != 1200 {
			t.Errorf("%d events stay of %d sent", n, r.different())
		}
		if _, ok := s.Snapshot().Object(outboxKey("e1199")); !ok {
			t.Error("the newest was removed")
		}
	})
}

func TestDuty_OneRefusedEventKeepsNoneBack(t *testing.T) {
	for name, refusal := range map[string]error{
		"refused":  &SendError{Host: "h", Status: 422, Reason: "no"},
		"failing":  &SendError{Host: "h", Status: 500, Reason: "no"},
		"no reply": errors.New("no reply"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newMemStore(t)
				r := &receiver{refuse: func(e Event) error {
					if e.ID == "e000" {
						return refusal
					}
					return nil
				}}
				records(t, s, 0, 20)
				g := begin(t, Options{Store: s, Sender: r})
				defer g.end()
				pass(2 * time.Minute)
				if r.different() != 19 {
					t.Errorf("%d of 19 delivered", r.different())
				}
			})
		})
	}
}

func TestDuty_RetryAfterIsObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore(t)
		r := &receiver{refuse: func(Event) error {
			return &SendError{Host: "h", Status: 429, RetryAfter: 10 * time.Minute, Reason: "slow down"}
		}}
		records(t, s, 0, 5)
		g := begin(t, Options{Store: s, Sender: r})
		defer g.end()
		pass(55 * time.Minute)
		if r.tried() < 4 || r.tried() > 6 {
			t.Errorf("%d attempts in 55 minutes", r.tried())
		}
	})
}

func TestDuty_LeadersChangeWhileAttemptsAreOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{takes: 3 * time.Second}
		records(t, s, 0, 30)
		var terms []*term
		for i := range 60 {
			g := begin(t, Options{Store: s, Sender: r, Node: fmt.Sprintf("n%d", i%3)})
			pass(2 * time.Second)
			g.resign()
			terms = append(terms, g)
		}
		g := begin(t, Options{Store: s, Sender: r})
		pass(2 * time.Minute)
		g.end()
		for _, g := range terms {
			_ = g.duty.Close()
		}
		if r.different() != 30 || len(r.ids()) != 30 {
			t.Errorf("30 events, %d told, %d times", r.different(), len(r.ids()))
		}
	})
}

func TestDuty_CrashBetweenDeliveryAndMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore(t)
		p := &process{Store: s}
		r := &receiver{arrived: func(e Event) {
			if e.ID == "e001" {
				p.crashed.Store(true) // "n1" is dead from here on
			}
		}}
		records(t, s, 0, 4)
		g := begin(t, Options{Store: p, Sender: r, Node: "n1"})
		pass(time.Second)
		g.end()
		synctest.Wait()
		if n := r.count("e001"); n != 1 || r.different() != 2 {
			t.Fatalf("%v", r.ids())
		}
		g = begin(t, Options{Store: s, Sender: r, Node: "n2"})
		defer g.end()
		pass(time.Second)
		if r.count("e001") != 1 || r.different() != 4 {
			t.Fatalf("one that may be on its way was sent at once, or kept others back: %v", r.ids())
		}
		pass(arrival)
		got, _, _ := r.taken()
		for id, n := range got {
			if want := map[bool]int{true: 2, false: 1}[id == "e001"]; n != want {
				t.Errorf("%s was told %d times", id, n)
			}
		}
	})
}

func TestDuty_CrashBeforeDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{}
		p := &process{Store: s}
		dead := &receiver{takes: time.Second, refuse: func(Event) error { p.crashed.Store(true); return errors.New("gone") }}
		record(t, s, event("e"))
		g := begin(t, Options{Store: p, Sender: dead})
		pass(time.Minute)
		g.end()
		g = begin(t, Options{Store: s, Sender: r})
		defer g.end()
		pass(arrival + time.Second)
		if r.count("e") != 1 {
			t.Errorf("told %d times", r.count("e"))
		}
	})
}

func TestDuty_NothingIsSentAfterTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{}
		g := begin(t, Options{Store: s, Sender: r})
		synctest.Wait()
		g.fence.over.Store(true) // a process that was frozen does not know it yet
		record(t, s, event("e"))
		synctest.Wait()
		if err := <-g.done; !errors.Is(err, state.ErrFenced) {
			t.Errorf("Run: %v", err)
		}
		g.stop()
		if r.tried() != 0 {
			t.Error("sent after the term")
		}
	})
}

func TestDuty_WithoutSenderEventsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{}
		record(t, s, event("e"))
		g := begin(t, Options{Store: s})
		pass(24 * time.Hour)
		g.end()
		g = begin(t, Options{Store: s, Sender: r})
		defer g.end()
		pass(time.Second)
		if r.count("e") != 1 {
			t.Error("not told by the leader that can")
		}
	})
}

func TestDuty_StoreClosedAndAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{}
		p := &process{Store: s}
		p.crashed.Store(true) // away, rather
		record(t, s, event("e"))
		g := begin(t, Options{Store: p, Sender: r})
		pass(10 * time.Minute)
		if r.tried() != 0 {
			t.Error("sent without a claim")
		}
		p.crashed.Store(false)
		pass(2 * busyPause)
		if r.count("e") != 1 {
			t.Error("not sent when the store was back")
		}
		_ = s.Close()
		if err := <-g.done; !errors.Is(err, state.ErrUnavailable) {
			t.Errorf("Run: %v", err)
		}
		g.stop()
	})
}

func TestDuty_MembersOfLaterVersionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newMemStore(t), &receiver{}
		e := event("e")
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		data = append([]byte(`{"urgency":{"level":3},`), data[1:]...)
		_, err = s.Update(t.Context(), func(d *state.Draft) error {
			return errors.Join(d.Put(&state.Record{Kind: state.KindEvent, Name: "outbox/e", Data: data}),
				d.Put(&state.Record{Kind: state.KindEvent, Name: "outbox/strange", Data: []byte(`[1]`)}),
				d.Put(&state.Record{Kind: state.KindEvent, Name: "other", Data: []byte(`{"id":"other"}`)}))
		})
		if err != nil {
			t.Fatal(err)
		}
		g := begin(t, Options{Store: s, Sender: r})
		defer g.end()
		pass(40 * time.Second)
		o, _ := s.Snapshot().Object(outboxKey("e"))
		text, _ := o.MarshalJSON()
		if !strings.Contains(string(text), `"urgency":{"level":3}`) || !strings.Contains(string(text), `"sent":`) || r.count("e") != 1 {
			t.Errorf("%s", text)
		}
	})
}

func TestNewDuty_NeedsAStore(t *testing.T) {
	if _, err := NewDuty(Options{}); err == nil {
		t.Error("accepted")
	}
}
