package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"statiko/api"
	"statiko/test/cluster"
)

// bundlesPart is the letter of this part.
const bundlesPart = "k"

// measureBundles uploads bundles to a cluster whose nodes copy them from each other, and deploys to a site.
func measureBundles(ctx context.Context, b *bench) (err error) {
	nodes, _, end, err := b.startCluster("bundles")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	size := b.size.bundles
	if err := b.uploads(ctx, nodes, size); err != nil {
		return err
	}
	return b.deploys(ctx, nodes, size)
}

// noisy is a bundle of one page and noise.
func noisy(page string, size int) ([]byte, error) {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, f := range []struct {
		name string
		r    io.Reader
	}{
		{"index.html", bytes.NewReader([]byte(page))},
		{"noise.bin", io.LimitReader(rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32s", page)))), int64(size))},
	} {
		part, err := w.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Store})
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(part, f.r); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return archive.Bytes(), err
}

// uploads measures how fast large bundles are stored on two nodes, and unpacked on three, beside a copy of the same file
// to the same disk.
func (b *bench) uploads(ctx context.Context, nodes []*node, size bundleSizes) error {
	say("  %d uploads of %d MiB, each to %d nodes", size.uploads, size.large>>20, len(nodes))
	var stored, everywhere, copied []float64
	for i := range size.uploads {
		name := fmt.Sprintf("large-%d", i)
		archive, err := noisy(name, size.large)
		if err != nil {
			return err
		}
		megabytes := float64(len(archive)) / 1e6
		began := time.Now()
		if err := b.copyDurably(archive, name); err != nil {
			return err
		}
		copied = append(copied, megabytes/time.Since(began).Seconds())

		var answer api.Answer
		began = time.Now()
		if err := nodes[i%len(nodes)].client.UploadApp(ctx, name, "zip", bytes.NewReader(archive), nil, api.Observe(&answer)); err != nil {
			return err
		}
		stored = append(stored, megabytes/time.Since(began).Seconds())
		if answer.Replicas != "2/2" {
			return fmt.Errorf("the upload is on %q nodes", answer.Replicas)
		}
		if err := unpackedOn(ctx, nodes[0], name, len(nodes)); err != nil {
			return err
		}
		everywhere = append(everywhere, megabytes/time.Since(began).Seconds())
		if err := nodes[0].client.DeleteApp(ctx, name); err != nil {
			return err
		}
	}
	what := fmt.Sprintf("one bundle of %d MiB: ", size.large>>20)
	for _, f := range []struct {
		what  string
		speed []float64
	}{
		{what + "acknowledged, and durable on two of three nodes", stored},
		{what + "unpacked on all three", everywhere},
	} {
		r := row{Part: bundlesPart, What: f.what, Unit: "MB/s", Ours: median(f.speed)}.against("cp and fsync of one copy", median(copied))
		r.Ratio = median(ratios(f.speed, copied))
		b.add(r)
	}
	return nil
}

// copyDurably writes a file as cp does, and has it on the disk.
func (b *bench) copyDurably(data []byte, name string) error {
	path := filepath.Join(b.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(data))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}

// unpackedOn waits until so many nodes can serve a bundle.
func unpackedOn(ctx context.Context, n *node, name string, count int) error {
	return cluster.PollEvery(ctx, 5*time.Millisecond, serveTimeout, name+" is on all nodes", func() error {
		apps, err := n.client.AppsOnNodes(ctx)
		if err != nil {
			return err
		}
		for _, app := range apps {
			if app.Name == name && len(app.Unpacked) == count {
				return nil
			}
		}
		return fmt.Errorf("%+v", apps)
	})
}

// deploys measures the time from the call until the last of all nodes serves the new version.
func (b *bench) deploys(ctx context.Context, nodes []*node, size bundleSizes) error {
	say("  %d deploys", size.deploys)
	const domain = "deployed.example.org"
	for _, page := range []string{"version-0", "version-1"} {
		archive, err := noisy(page, 1000)
		if err != nil {
			return err
		}
		if err := nodes[0].client.UploadApp(ctx, page, "zip", bytes.NewReader(archive), nil); err != nil {
			return err
		}
		if err := unpackedOn(ctx, nodes[0], page, len(nodes)); err != nil {
			return err
		}
	}
	if _, err := nodes[0].client.CreateSite(ctx, api.SiteCreate{Domain: domain, App: &api.SiteApp{Name: "version-1"}}, api.Wait(time.Minute)); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := n.prober().until(ctx, site{domain, "version-1"}, 5*time.Millisecond); err != nil {
			return err
		}
	}
	var took []float64
	for i := range size.deploys {
		version := fmt.Sprintf("version-%d", i%2)
		began := time.Now()
		if err := nodes[i%len(nodes)].client.Deploy(ctx, domain, version); err != nil {
			return err
		}
		all, inner := errgroup.WithContext(ctx)
		for _, n := range nodes {
			all.Go(func() error { return n.prober().until(inner, site{domain, version}, time.Millisecond) })
		}
		if err := all.Wait(); err != nil {
			return err
		}
		took = append(took, float64(time.Since(began))/1e6)
	}
	b.add(row{Part: bundlesPart, What: "deploy, from the call until the last of three nodes serves it, p50", Unit: "ms", Ours: percentile(took, 50)},
		row{Part: bundlesPart, What: "the same, p99", Unit: "ms", Ours: percentile(took, 99)}.atMost(1000))
	return nil
}
