package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWaiting_ThereAndBack(t *testing.T) {
	t.Parallel()
	for _, list := range [][]Waiting{
		nil,
		{{Node: "edge-1"}},
		{{Node: "edge-1", Absent: true}, {Node: "edge-2", Reason: "it has applied revision 3, not yet 4"}},
		{{Node: `a,b;c="d"`, Absent: true, Reason: "so;\"far\", it's 100 % ü\r\nX-Evil: 1"}, {Node: "*"}},
	} {
		text := FormatWaiting(list)
		if strings.ContainsAny(text, "\r\n") {
			t.Errorf("%q breaks the header", text)
		}
		if got, more := ParseWaiting(text); !slices.Equal(got, list) || more != 0 {
			t.Errorf("%q became %+v, %d more", text, got, more)
		}
	}
	if text := FormatWaiting([]Waiting{{Node: "edge-4", Absent: true, Reason: "it is down"}}); text != `edge-4;absent;reason="it+is+down"` {
		t.Errorf("written as %s", text)
	}
}

// However many nodes there are, the header stays small, and nobody is lost count of.
func TestWaiting_IsBounded(t *testing.T) {
	t.Parallel()
	var list []Waiting
	for i := range 1000 {
		list = append(list, Waiting{Node: fmt.Sprintf("edge-%d", i), Reason: strings.Repeat("ü", 500)})
	}
	text := FormatWaiting(list)
	got, more := ParseWaiting(text)
	if len(text) > 4<<10 || len(got)+more != 1000 || len(got) < 20 || got[0].Node != "edge-0" || got[0].Reason == "" {
		t.Errorf("%d bytes, %d named, %d more", len(text), len(got), more)
	}
}

func TestParseWaiting_AnythingIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ParseWaiting(rapid.String().Draw(t, "text"))
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Waiting {
			return Waiting{Node: rapid.StringN(1, 50, 100).Draw(t, "node"), Absent: rapid.Bool().Draw(t, "absent")}
		}), 0, 5).Draw(t, "list")
		if got, _ := ParseWaiting(FormatWaiting(list)); len(got) != len(list) || len(list) > 0 && !slices.Equal(got, list) {
			t.Fatalf("%+v became %+v", list, got)
		}
	})
}
