package history

import (
	"slices"
	"testing"
)

func TestDeployed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		calls []Call
		want  []string
	}{
		"the last revision counts, not the last answer": {
			[]Call{{Op: Deploy, App: "b", Result: OK, Revision: 7}, {Op: Deploy, App: "a", Result: OK, Revision: 5}}, []string{"b"},
		},
		"a restore deploys too": {
			[]Call{{Op: Deploy, App: "b", Result: OK, Revision: 7}, {Op: Restore, App: "a", Result: OK, Revision: 9}}, []string{"a"},
		},
		"an unknown one may be made late": {
			[]Call{{Op: Deploy, App: "c", Result: Unknown}, {Op: Deploy, App: "b", Result: OK, Revision: 7}}, []string{"b", "c"},
		},
		"a refused one never, nor an upload": {
			[]Call{
				{Op: Deploy, App: "b", Result: OK, Revision: 7}, {Op: Deploy, App: "c", Result: Refused},
				{Op: Upload, App: "d", Result: OK, Revision: 8},
			}, []string{"b"},
		},
	} {
		if got, err := Deployed(test.calls); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q (%v), want %q", name, got, err, test.want)
		}
	}
	if _, err := Deployed([]Call{{Op: Deploy, App: "c", Result: Unknown}}); err == nil {
		t.Error("without an acknowledged one, nothing is known")
	}
}
