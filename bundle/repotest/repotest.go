// Package repotest is the suite that every bundle.Repository passes. Start at [Run].
package repotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"statiko/bundle"
)

// Run runs the suite. open returns an empty repository and is called once a test.
func Run(t *testing.T, open func(t *testing.T) bundle.Repository) {
	tests := []struct {
		name string
		run  func(t *testing.T, r bundle.Repository)
	}{
		{"ReadsWhatWasStored", readsWhatWasStored},
		{"ReadsFromAnOffset", readsFromAnOffset},
		{"StatDescribes", statDescribes},
		{"MissingBundle", missingBundle},
		{"NameTaken", nameTaken},
		{"CreateRaces", createRaces},
		{"SetMetaReplaces", setMetaReplaces},
		{"RemovedIsGoneAndCanComeBackOtherwise", removedIsGone},
		{"ReaderSurvivesRemove", readerSurvivesRemove},
		{"ListIsSorted", listIsSorted},
		{"BadNames", badNames},
		{"CancelledContext", cancelledContext},
		{"TypeFromName", typeFromName},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

// Upload spools content. The spool is discarded at the test's end.
func Upload(t testing.TB, content []byte) *bundle.Spool {
	t.Helper()
	s, err := bundle.NewSpool(context.Background(), t.TempDir(), bytes.NewReader(content), 1<<30)
	if err != nil {
		t.Fatalf("spool: %v", err)
	}
	t.Cleanup(s.Discard)
	return s
}

func create(t testing.TB, r bundle.Repository, name, content string, meta bundle.Meta) {
	t.Helper()
	if err := r.Create(context.Background(), name, Upload(t, []byte(content)), meta); err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
}

func read(t testing.TB, r bundle.Repository, name string) (string, bundle.Meta) {
	t.Helper()
	body, meta, err := r.Open(context.Background(), name, 0)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return string(data), meta
}

func readsWhatWasStored(t *testing.T, r bundle.Repository) {
	content := strings.Repeat("content ", 100_000)
	upload := Upload(t, []byte(content))
	want := bundle.Meta{Type: "zip", Hash: upload.HashBase64(), Entered: true}
	if err := r.Create(context.Background(), "docs-1.2.0", upload, want); err != nil {
		t.Fatal(err)
	}
	upload.Discard() // the repository does not need it any more
	got, meta := read(t, r, "docs-1.2.0")
	if got != content || meta != want {
		t.Fatalf("read %d bytes with %+v; want %d with %+v", len(got), meta, len(content), want)
	}
}

func readsFromAnOffset(t *testing.T, r bundle.Repository) {
	content := strings.Repeat("0123456789", 100_000)
	create(t, r, "site", content, bundle.Meta{Type: "zip"})
	for _, offset := range []int{1, 999_983, len(content) - 1, len(content), len(content) + 5} {
		body, meta, err := r.Open(context.Background(), "site", int64(offset))
		if err != nil {
			t.Fatalf("offset %d: %v", offset, err)
		}
		got, err := io.ReadAll(body)
		_ = body.Close()
		if want := content[min(offset, len(content)):]; err != nil || string(got) != want || meta.Type != "zip" {
			t.Errorf("offset %d: %d bytes of type %q, %v; want %d", offset, len(got), meta.Type, err, len(want))
		}
	}
}

func statDescribes(t *testing.T, r bundle.Repository) {
	want := bundle.Meta{Type: "tar", Hash: "aGFzaA==", Signature: "c2lnbmF0dXJl", Entered: true}
	create(t, r, "site", "content", want)
	e, err := r.Stat(context.Background(), "site")
	if err != nil || e.Name != "site" || e.Size != 7 || e.Meta != want || e.Modified.IsZero() {
		t.Fatalf("%+v, %v; want 7 bytes with %+v", e, err, want)
	}
}

func missingBundle(t *testing.T, r bundle.Repository) {
	ctx := context.Background()
	_, _, err := r.Open(ctx, "nothing", 0)
	_, statErr := r.Stat(ctx, "nothing")
	for what, err := range map[string]error{
		"Open": err, "Stat": statErr, "SetMeta": r.SetMeta(ctx, "nothing", bundle.Meta{}), "Remove": r.Remove(ctx, "nothing"),
	} {
		if !errors.Is(err, bundle.ErrNotFound) {
			t.Errorf("%s: %v; want ErrNotFound", what, err)
		}
	}
	if list, err := r.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("List: %v, %v; want nothing", list, err)
	}
}

func nameTaken(t *testing.T, r bundle.Repository) {
	create(t, r, "site", "first", bundle.Meta{Type: "zip"})
	err := r.Create(context.Background(), "site", Upload(t, []byte("second")), bundle.Meta{Type: "tar"})
	if !errors.Is(err, bundle.ErrExists) {
		t.Fatalf("second create: %v; want ErrExists", err)
	}
	if got, meta := read(t, r, "site"); got != "first" || meta.Type != "zip" {
		t.Fatalf("afterwards %q of type %q; want the first untouched", got, meta.Type)
	}
}

func createRaces(t *testing.T, r bundle.Repository) {
	const racers = 8
	uploads := make([]*bundle.Spool, racers)
	for i := range uploads {
		uploads[i] = Upload(t, fmt.Appendf(nil, "racer %d", i))
	}
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i, upload := range uploads {
		wg.Go(func() {
			errs[i] = r.Create(context.Background(), "site", upload, bundle.Meta{Type: "zip", Hash: upload.HashBase64()})
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("racers %d and %d both created it", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, bundle.ErrExists):
			t.Errorf("racer %d: %v", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody created it")
	}
	got, meta := read(t, r, "site")
	if got != fmt.Sprintf("racer %d", winner) || meta.Hash != uploads[winner].HashBase64() {
		t.Fatalf("racer %d won, but the bundle holds %q with hash %s", winner, got, meta.Hash)
	}
}

func setMetaReplaces(t *testing.T, r bundle.Repository) {
	create(t, r, "site", "x", bundle.Meta{Type: "zip", Hash: "aGFzaA=="})
	want := bundle.Meta{Type: "zip", Signature: "c2lnbmF0dXJl"}
	if err := r.SetMeta(context.Background(), "site", want); err != nil {
		t.Fatal(err)
	}
	if got, meta := read(t, r, "site"); meta != want || got != "x" {
		t.Fatalf("%q with %+v; want %+v", got, meta, want)
	}
}

func removedIsGone(t *testing.T, r bundle.Repository) {
	create(t, r, "site", "one", bundle.Meta{Type: "zip", Hash: "b25l"})
	if err := r.Remove(context.Background(), "site"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Open(context.Background(), "site", 0); !errors.Is(err, bundle.ErrNotFound) {
		t.Fatalf("open after remove: %v", err)
	}
	create(t, r, "site", "two", bundle.Meta{Type: "tar"})
	if got, meta := read(t, r, "site"); got != "two" || meta != (bundle.Meta{Type: "tar"}) {
		t.Fatalf("%q with %+v: something of the removed one is left", got, meta)
	}
}

func readerSurvivesRemove(t *testing.T, r bundle.Repository) {
	content := strings.Repeat("x", 1<<20)
	create(t, r, "site", content, bundle.Meta{Type: "zip"})
	body, _, err := r.Open(context.Background(), "site", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := r.Remove(context.Background(), "site"); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(body); err != nil || string(data) != content {
		t.Fatalf("read %d bytes, %v; want %d", len(data), err, len(content))
	}
}

func listIsSorted(t *testing.T, r bundle.Repository) {
	for _, name := range []string{"zeta", "alpha.zip", "b", "docs-10", "docs-2"} {
		create(t, r, name, "content of "+name, bundle.Meta{Type: "tar.gz"})
	}
	list, err := r.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
		if e.Size != int64(len("content of "+e.Name)) || e.Meta.Type != "tar.gz" || e.Modified.IsZero() {
			t.Errorf("entry %+v", e)
		}
	}
	if got, want := strings.Join(names, " "), "alpha.zip b docs-10 docs-2 zeta"; got != want {
		t.Fatalf("listed %s; want %s", got, want)
	}
}

func badNames(t *testing.T, r bundle.Repository) {
	ctx := context.Background()
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, ".hidden", "1a", "Upper", "a\x00b", "a b", "ä", strings.Repeat("a", 300)} {
		if err := r.Create(ctx, name, Upload(t, []byte("x")), bundle.Meta{}); err == nil {
			t.Errorf("Create(%q) succeeded", name)
		}
		if body, _, err := r.Open(ctx, name, 0); err == nil {
			_ = body.Close()
			t.Errorf("Open(%q) succeeded", name)
		}
		if _, err := r.Stat(ctx, name); err == nil {
			t.Errorf("Stat(%q) succeeded", name)
		}
		if err := r.SetMeta(ctx, name, bundle.Meta{}); err == nil {
			t.Errorf("SetMeta(%q) succeeded", name)
		}
		if err := r.Remove(ctx, name); err == nil {
			t.Errorf("Remove(%q) succeeded", name)
		}
	}
}

func cancelledContext(t *testing.T, r bundle.Repository) {
	create(t, r, "site", "x", bundle.Meta{Type: "zip"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, openErr := r.Open(ctx, "site", 0)
	_, statErr := r.Stat(ctx, "site")
	_, listErr := r.List(ctx)
	for what, err := range map[string]error{
		"Create": r.Create(ctx, "other", Upload(t, []byte("y")), bundle.Meta{}),
		"Open":   openErr, "Stat": statErr, "List": listErr,
		"SetMeta": r.SetMeta(ctx, "site", bundle.Meta{Type: "tar"}), "Remove": r.Remove(ctx, "site"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want context.Canceled", what, err)
		}
	}
	if got, meta := read(t, r, "site"); got != "x" || meta.Type != "zip" {
		t.Errorf("a cancelled call changed the bundle: %q, %+v", got, meta)
	}
	if _, _, err := r.Open(context.Background(), "other", 0); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("a cancelled Create stored something: %v", err)
	}
}

func typeFromName(t *testing.T, r bundle.Repository) {
	for name, want := range map[string]string{"a": "", "abc": "", "zip": "", "site.zip": "zip", "site.tar.gz": "tar.gz", "site-1.0": ""} {
		create(t, r, name, "x", bundle.Meta{})
		if _, meta := read(t, r, name); meta.Type != want {
			t.Errorf("%s: type %q, want %q", name, meta.Type, want)
		}
		if e, err := r.Stat(context.Background(), name); err != nil || e.Meta.Type != want {
			t.Errorf("%s: Stat says type %q, %v; want %q", name, e.Meta.Type, err, want)
		}
	}
}
