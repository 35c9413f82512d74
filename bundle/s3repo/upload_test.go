package s3repo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"statiko/bundle"
	"statiko/bundle/repotest"
	"statiko/test/objecttest"
)

// partSize is the smallest that the protocol allows for all but the last part.
const partSize = 5 << 20

func mustRead(t testing.TB, r bundle.Repository, name string) ([]byte, bundle.Meta) {
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
	return data, meta
}

// parts counts the uploads under way in the bucket.
func parts(t testing.TB, s objecttest.S3, bucket string) int {
	t.Helper()
	page, err := s.Client(t).ListMultipartUploads(context.Background(), bucket, "", "", "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Uploads)
}

func missing(t testing.TB, r bundle.Repository, name string) {
	t.Helper()
	if _, err := r.Stat(context.Background(), name); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("%s: %v; want ErrNotFound", name, err)
	}
}

func TestCreate_PartsAndTheirCopy(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	o := options(t, s)
	o.PartSize, o.CopySize = partSize, partSize
	r := open(t, o)
	data := repotest.Content(2*partSize + 12345)
	upload := repotest.Upload(t, data)
	want := bundle.Meta{Type: "zip", Hash: upload.HashBase64()}
	if err := r.Create(t.Context(), "site", upload, want); err != nil {
		t.Fatal(err)
	}
	body, _, err := r.Open(t.Context(), "site", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	want.Signature, want.Entered = "c2ln", true
	if err := r.SetMeta(t.Context(), "site", want); err != nil {
		t.Fatalf("copy onto itself in parts: %v", err)
	}
	if got, meta := mustRead(t, r, "site"); !bytes.Equal(got, data) || meta != want {
		t.Errorf("read %d bytes with %+v; want %d with %+v", len(got), meta, len(data), want)
	}
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
		t.Errorf("who had it open read %d bytes, %v; want %d", len(got), err, len(data))
	}
	if err := r.Create(t.Context(), "site", repotest.Upload(t, data[1:]), want); !errors.Is(err, bundle.ErrExists) {
		t.Errorf("again: %v; want ErrExists", err)
	}
	if n := parts(t, s, o.Bucket); n != 0 {
		t.Errorf("%d uploads are left under way", n)
	}
}

// An object of no bytes, as a broken program leaves it, counts as missing, and does not keep the name from being used.
func TestCreate_NoBytesCountAsMissing(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	o := options(t, s)
	r := open(t, o)
	if _, err := s.Client(t).Client.PutObject(t.Context(), o.Bucket, "site", bytes.NewReader(nil), 0, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	missing(t, r, "site")
	if list, err := r.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v", list, err)
	}
	if err := r.Remove(t.Context(), "site"); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("remove: %v", err)
	}
	if err := r.Create(t.Context(), "site", repotest.Upload(t, []byte("x")), bundle.Meta{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := mustRead(t, r, "site"); string(got) != "x" {
		t.Errorf("read %q", got)
	}
}

// What another program stored beside the bytes stays, and its spelling of the keys does not matter.
func TestSetMeta_KeepsWhatItDoesNotKnow(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	o := options(t, s)
	r := open(t, o)
	c := s.Client(t)
	put := minio.PutObjectOptions{UserMetadata: map[string]string{"Type": "zip", "HASH": "aGFzaA==", "Owner": "someone"}}
	if _, err := c.Client.PutObject(t.Context(), o.Bucket, "site", bytes.NewReader([]byte("x")), 1, put); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Stat(t.Context(), "site"); err != nil || e.Meta != (bundle.Meta{Type: "zip", Hash: "aGFzaA=="}) {
		t.Fatalf("%+v, %v", e, err)
	}
	if err := r.SetMeta(t.Context(), "site", bundle.Meta{Type: "zip", Signature: "c2ln"}); err != nil {
		t.Fatal(err)
	}
	info, err := c.StatObject(t.Context(), o.Bucket, "site", minio.StatObjectOptions{})
	if err != nil || info.UserMetadata["Owner"] != "someone" || info.UserMetadata["Signature"] != "c2ln" || info.UserMetadata["Hash"] != "" {
		t.Errorf("%v, %v", info.UserMetadata, err)
	}
}

// An upload that is given up removes its parts, and one that a crash cut off is removed by a later start.
func TestClean_PartsOfInterruptedUploads(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	o := options(t, s)
	o.PartSize = partSize
	proxy := s.Proxy(t)
	o.Endpoint = proxy.Address()
	r := open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	stop := make(chan struct{})
	go func() { // ends the upload in its midst
		defer close(stop)
		for proxy.Passed() < 2*partSize && ctx.Err() == nil {
			runtime.Gosched()
		}
		cancel()
	}()
	err := r.Create(ctx, "site", repotest.Upload(t, repotest.Content(6*partSize)), bundle.Meta{})
	<-stop
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v; want context.Canceled", err)
	}
	missing(t, r, "site")
	if n := parts(t, s, o.Bucket); n != 0 {
		t.Fatalf("%d uploads are left under way", n)
	}
	if _, err := s.Client(t).NewMultipartUpload(t.Context(), o.Bucket, "site", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := parts(t, s, o.Bucket); n != 1 {
		t.Fatalf("%d uploads under way; a young one may be another node's, and stays", n)
	}
	o.StaleAfter = time.Nanosecond
	if err := open(t, o).Clean(t.Context()); err != nil || parts(t, s, o.Bucket) != 0 {
		t.Fatalf("%v; an old upload is removed", err)
	}
}

// An answer that is lost does not make a step that was carried out fail, or be taken for somebody else's.
func TestLostAnswers(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	o := options(t, s)
	o.PartSize, o.CopySize = partSize, partSize
	r := open(t, o)
	lost := &losing{to: r.transport, lost: map[string]bool{}, lose: func(q *http.Request) string {
		if q.Method == http.MethodGet || q.Method == http.MethodHead {
			return ""
		}
		kind := q.Method + " " + q.URL.Path
		for _, part := range []string{"uploads", "uploadId", "partNumber"} {
			if q.URL.Query().Has(part) {
				kind += " " + part
			}
		}
		if q.Header.Get("x-amz-copy-source") != "" {
			kind += " copy"
		}
		return kind
	}}
	r.client = withTransport(t, o, lost)
	for name, size := range map[string]int{"small": 100, "large": 2*partSize + 1} {
		data := repotest.Content(size)
		if err := r.Create(t.Context(), name, repotest.Upload(t, data), bundle.Meta{Type: "zip"}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := r.SetMeta(t.Context(), name, bundle.Meta{Type: "tar"}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, meta := mustRead(t, r, name); !bytes.Equal(got, data) || meta.Type != "tar" {
			t.Errorf("%s: read %d bytes, %+v", name, len(got), meta)
		}
		if err := r.Remove(t.Context(), name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if len(lost.lost) < 8 { // small: put, copy, delete; large: begin, part, end, copy of a part, delete
		t.Errorf("answers were lost to %v only", lost.lost)
	}
}

// A copy of an object in parts whose last answer is lost is found to be made.
func TestSetMeta_LostAnswerOfACopyInParts(t *testing.T) {
	s := objecttest.StartS3(t, objecttest.Pair{})
	o := options(t, s)
	o.PartSize, o.CopySize = partSize, partSize
	r := open(t, o)
	data := repotest.Content(2*partSize + 1)
	if err := r.Create(t.Context(), "site", repotest.Upload(t, data), bundle.Meta{Type: "zip"}); err != nil {
		t.Fatal(err)
	}
	lost := &losing{to: r.transport, lost: map[string]bool{}, lose: func(q *http.Request) string {
		if q.Method == http.MethodPost && q.URL.Query().Has("uploadId") {
			return "end"
		}
		return ""
	}}
	r.client = withTransport(t, o, lost)
	want := bundle.Meta{Type: "zip", Entered: true}
	if err := r.SetMeta(t.Context(), "site", want); err != nil || !lost.lost["end"] {
		t.Fatalf("%v; lost %v", err, lost.lost)
	}
	if got, meta := mustRead(t, r, "site"); !bytes.Equal(got, data) || meta != want {
		t.Errorf("read %d bytes, %+v", len(got), meta)
	}
}
