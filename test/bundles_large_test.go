package test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// A bundle of a gigabyte is uploaded, copied to all nodes and deployed without being in memory.
func TestBundles_AGigabyte(t *testing.T) {
	size := int64(64 << 20)
	if soak() {
		size = 1 << 30
	}
	t.Parallel()
	c := startCluster(t, builtFast(t), 3)
	path := filepath.Join(t.TempDir(), "large.zip")
	f, err := os.Create(path)
	cluster.Must(t, err)
	w := zip.NewWriter(f)
	sum := sha256.New()
	part, err := w.CreateHeader(&zip.FileHeader{Name: "large.bin", Method: zip.Store})
	cluster.Must(t, err)
	_, err = io.Copy(io.MultiWriter(part, sum), io.LimitReader(rand.NewChaCha8([32]byte{1}), size))
	cluster.Must(t, err)
	page, err := w.Create("index.html")
	cluster.Must(t, err)
	_, err = io.WriteString(page, "large")
	cluster.Must(t, err)
	cluster.Must(t, w.Close())
	_, err = f.Seek(0, io.SeekStart)
	cluster.Must(t, err)
	defer f.Close()

	before := map[*cluster.Node]int64{}
	for _, n := range c.Nodes {
		_, before[n], err = n.Memory()
		cluster.Must(t, err)
	}
	client := c.Nodes[0].API(t)
	addSite(t, client, "large.example.org")
	began := time.Now()
	patient := c.Nodes[0].PatientClient(10 * time.Minute)
	defer patient.Close()
	var answer api.Answer
	cluster.Must(t, patient.UploadApp(context.Background(), "large", "zip", f, nil, api.Observe(&answer)))
	acknowledged := time.Since(began)
	if answer.Replicas != "2/2" {
		t.Errorf("it is on %s nodes", answer.Replicas)
	}
	cluster.Must(t, patient.Deploy(context.Background(), "large.example.org", "large", api.Wait(5*time.Minute)))
	deployed := time.Since(began)
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(5*time.Minute, "it is served by "+n.Name(), func() error { return servesPage(n, "large.example.org", "large") }))
		resp, err := cluster.Visit(t, n).HTTP.Get("https://large.example.org/large.bin")
		cluster.Must(t, err)
		got := sha256.New()
		sent, err := io.Copy(got, resp.Body)
		resp.Body.Close()
		if err != nil || sent != size || hex.EncodeToString(got.Sum(nil)) != hex.EncodeToString(sum.Sum(nil)) {
			t.Errorf("%s serves %d bytes, %v", n.Name(), sent, err)
		}
		_, peak, err := n.Memory()
		cluster.Must(t, err)
		more := peak - before[n]
		t.Logf("%s: %d MB more at its peak, %d MB before", n.Name(), more>>20, before[n]>>20)
		if more > min(size/2, 100<<20) {
			t.Errorf("%s needed %d MB more", n.Name(), more>>20)
		}
	}
	t.Logf("%d MB: acknowledged after %s, deployed on all nodes after %s", size>>20, acknowledged.Round(time.Millisecond), deployed.Round(time.Millisecond))
}

// Fifty thousand small files take seconds, not minutes.
func TestBundles_ManySmallFiles(t *testing.T) {
	count := 2000
	if soak() {
		count = 50_000
	}
	t.Parallel()
	n := cluster.NewNode(t, builtFast(t))
	n.Start(t)
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for i := range count {
		f, err := w.Create(fmt.Sprintf("pages/%d/%d.html", i/100, i))
		cluster.Must(t, err)
		fmt.Fprintf(f, "<!doctype html><title>%d</title>%s", i, strings.Repeat(fmt.Sprintf("<p>paragraph of page %d</p>", i), 40))
	}
	f, err := w.Create("index.html")
	cluster.Must(t, err)
	_, err = io.WriteString(f, "many")
	cluster.Must(t, err)
	cluster.Must(t, w.Close())
	client := n.API(t)
	addSite(t, client, "many.example.org")
	began := time.Now()
	cluster.Must(t, client.UploadApp(context.Background(), "many", "zip", bytes.NewReader(archive.Bytes()), nil))
	uploaded := time.Since(began)
	cluster.Must(t, client.Deploy(context.Background(), "many.example.org", "many", api.Wait(time.Minute)))
	v := cluster.Visit(t, n)
	for _, i := range []int{0, count / 2, count - 1} {
		p := v.MustGet(t, 200, fmt.Sprintf("https://many.example.org/pages/%d/%d.html", i/100, i))
		if !strings.Contains(string(p.Body), fmt.Sprintf("<title>%d</title>", i)) {
			t.Errorf("page %d is %.60q", i, p.Body)
		}
	}
	t.Logf("%d files: uploaded and unpacked in %s, served after %s", count, uploaded.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}
