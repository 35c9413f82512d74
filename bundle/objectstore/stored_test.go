package objectstore

import (
	"maps"
	"testing"

	"statiko/bundle"
)

func TestStored(t *testing.T) {
	s := Decode("site", map[string]string{"Type": "zip", "HASH": "aA==", "Signature": "c2ln", "Upload": "U", "Entered": "true", "Owner": "o"})
	want := bundle.Meta{Type: "zip", Hash: "aA==", Signature: "c2ln", Entered: true}
	if s.Meta != want || s.Upload != "U" || !maps.Equal(s.Others, map[string]string{"owner": "o"}) {
		t.Fatalf("%+v", s)
	}
	s.Meta = bundle.Meta{Type: "tar"}
	if got := s.Encode(); !maps.Equal(got, map[string]string{"type": "tar", "upload": "U", "owner": "o"}) {
		t.Errorf("%v", got)
	}
	if got := Decode("site.tar.gz", nil); got.Meta.Type != "tar.gz" || got.Upload != "" {
		t.Errorf("%+v", got)
	}
	if first := NewUpload(); first == NewUpload() {
		t.Error("two uploads have one mark")
	}
}

func TestIsName(t *testing.T) {
	for name, want := range map[string]bool{"site": true, "docs-1.2": true, "": false, "Site": false, "a/b": false, ".upload-1": false} {
		if IsName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
