package azurerepo

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"statiko/bundle"
	"statiko/bundle/objectstore"
	"statiko/bundle/repotest"
	"statiko/test/objecttest"
)

func mustRead(t testing.TB, r bundle.Repository, name string) (string, bundle.Meta) {
	t.Helper()
	body, meta, err := r.Open(context.Background(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), meta
}

// putRaw stores a blob as another program does.
func putRaw(t testing.TB, r *Repository, name, text string, metadata map[string]string) {
	t.Helper()
	values := map[string]*string{}
	for key, value := range metadata {
		values[key] = &value
	}
	body := objectstore.NewSection(strings.NewReader(text), 0, int64(len(text)), func() {})
	if _, err := r.blob(name).Upload(t.Context(), body, &blockblob.UploadOptions{Metadata: values}); err != nil {
		t.Fatal(err)
	}
}

// A blob of no bytes, as a broken program leaves it, counts as missing, and does not keep the name from being used.
func createNoBytesCountAsMissing(t *testing.T, s objecttest.Azure) {
	o := options(t, s)
	o.BlockSize = blockSize
	r := open(t, o)
	for name, size := range map[string]int{"small": 1, "large": blockSize + 1} {
		putRaw(t, r, name, "", nil)
		if _, err := r.Stat(t.Context(), name); !errors.Is(err, bundle.ErrNotFound) {
			t.Errorf("%s: stat: %v", name, err)
		}
		if list, err := r.List(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("%s: listed %v, %v", name, list, err)
		}
		if err := r.Remove(t.Context(), name); !errors.Is(err, bundle.ErrNotFound) {
			t.Errorf("%s: remove: %v", name, err)
		}
		data := repotest.Content(size)
		if err := r.Create(t.Context(), name, repotest.Upload(t, data), bundle.Meta{}); err != nil {
			t.Fatal(err)
		}
		if got, _ := mustRead(t, r, name); got != string(data) {
			t.Errorf("%s: read %d bytes", name, len(got))
		}
		if err := r.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// What another program stored beside the bytes stays, and its spelling of the keys does not matter.
func setMetaKeepsWhatItDoesNotKnow(t *testing.T, s objecttest.Azure) {
	r := open(t, options(t, s))
	putRaw(t, r, "site", "x", map[string]string{"Type": "zip", "HASH": "aGFzaA==", "owner": "someone"})
	if e, err := r.Stat(t.Context(), "site"); err != nil || e.Meta != (bundle.Meta{Type: "zip", Hash: "aGFzaA=="}) {
		t.Fatalf("%+v, %v", e, err)
	}
	if err := r.SetMeta(t.Context(), "site", bundle.Meta{Type: "zip", Signature: "c2ln"}); err != nil {
		t.Fatal(err)
	}
	p, err := r.blob("site").GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := decode("site", p.Metadata); d.Others["owner"] != "someone" || d.Meta != (bundle.Meta{Type: "zip", Signature: "c2ln"}) {
		t.Errorf("%+v", d)
	}
}

// A blob with snapshots, which an administrator may have made, can be removed too.
func removeWithSnapshots(t *testing.T, s objecttest.Azure) {
	r := open(t, options(t, s))
	putRaw(t, r, "site", "x", nil)
	if _, err := r.blob("site").CreateSnapshot(t.Context(), &blob.CreateSnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), "site"); err != nil {
		t.Fatal(err)
	}
}

// losing drops the first answer to each kind of request that lose chooses.
type losing struct {
	to   http.RoundTripper
	lose func(*http.Request) string

	mu   sync.Mutex
	lost map[string]bool
}

func (l *losing) RoundTrip(q *http.Request) (*http.Response, error) {
	a, err := l.to.RoundTrip(q)
	kind := l.lose(q)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || kind == "" || l.lost[kind] {
		return a, err
	}
	l.lost[kind] = true
	return nil, errors.Join(errors.New("the answer was lost"), a.Body.Close())
}

// An answer that is lost does not make a step that was carried out fail, or be taken for somebody else's.
func lostAnswers(t *testing.T, s objecttest.Azure) {
	o := options(t, s)
	o.BlockSize = blockSize
	r := open(t, o)
	lost := &losing{to: r.transport, lost: map[string]bool{}, lose: func(q *http.Request) string {
		if q.Method == http.MethodPut || q.Method == http.MethodDelete {
			return q.Method + " " + q.URL.Path + q.URL.Query().Get("comp")
		}
		return ""
	}}
	r.send = lost
	if err := r.connect(r.endpoint + "/" + o.Container); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"small": 100, "large": 2*blockSize + 1} {
		data := repotest.Content(size)
		if err := r.Create(t.Context(), name, repotest.Upload(t, data), bundle.Meta{Type: "zip"}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := r.SetMeta(t.Context(), name, bundle.Meta{Type: "tar"}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, meta := mustRead(t, r, name); got != string(data) || meta.Type != "tar" {
			t.Errorf("%s: read %d bytes, %+v", name, len(got), meta)
		}
		if err := r.Remove(t.Context(), name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if len(lost.lost) < 7 { // small: put, metadata, delete; large: block, list, metadata, delete
		t.Errorf("answers were lost to %v only", lost.lost)
	}
}
