package media

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTable_NoExtensionStandsTwiceAndAllAreFound(t *testing.T) {
	t.Parallel()
	types := New()
	seen := map[string]bool{}
	for _, row := range Table() {
		if row.Type == "" || len(row.Extensions) == 0 {
			t.Errorf("row %+v", row)
		}
		for _, ext := range row.Extensions {
			if seen[ext] {
				t.Errorf("%s stands twice", ext)
			}
			seen[ext] = true
			if got := types.Of("a." + ext); got != row.Type {
				t.Errorf("%s: %s, want %s", ext, got, row.Type)
			}
		}
	}
	for name, want := range map[string]string{
		"a.PNG": "image/png", "x/b.js.map": "application/json", "LICENSE": Default, "a.unknown": Default, "v.mp4": "video/mp4",
		"d.pdf": "application/pdf", "a.zip": "application/zip", "m.glb": "model/gltf-binary",
	} {
		if got := types.Of(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
