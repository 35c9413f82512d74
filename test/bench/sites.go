package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"statiko/test/cluster"
)

// bundles is how many different bundles the sites serve: as agencies have it, many sites share a few.
const bundles = 10

func bundleName(i int) string   { return fmt.Sprintf("bundle-%02d", i) }
func bundleMarker(i int) string { return fmt.Sprintf("This is bundle %02d.", i) }

// uploadBundles uploads the bundles that the sites serve: a page, a style sheet and a script each.
func (n *node) uploadBundles(ctx context.Context) error {
	for i := range bundles {
		data := cluster.Zip(map[string][]byte{
			"index.html":    page(bundleMarker(i), 6<<10),
			"assets/app.js": page(bundleMarker(i)+" (script)", 30<<10), "assets/app.css": page(bundleMarker(i)+" (style)", 8<<10),
		})
		if err := n.client.UploadApp(ctx, bundleName(i), "zip", bytes.NewReader(data), nil); err != nil {
			return fmt.Errorf("upload a bundle: %w", err)
		}
	}
	return nil
}

// restoreSites puts count sites into the node's state by one restore, each with one alias, a third of them with a
// bundle. None has a certificate yet.
func (n *node) restoreSites(ctx context.Context, count int) ([]site, error) {
	if err := n.uploadBundles(ctx); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := n.client.State(ctx, &text); err != nil {
		return nil, err
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(text.Bytes(), &document); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	sites := make([]site, count)
	var list strings.Builder
	for i := range sites {
		sites[i].domain = fmt.Sprintf("site-%05d.example.test", i)
		app := "null"
		if i%3 == 0 {
			bundle := i / 3 % bundles
			sites[i].text = bundleMarker(bundle)
			app = fmt.Sprintf(`{"name":%q}`, bundleName(bundle))
		}
		if i > 0 {
			list.WriteByte(',')
		}
		fmt.Fprintf(&list, `{"domain":%q,"aliases":[%q],"tls":{"type":"selfsigned"},"app":%s}`,
			sites[i].domain, "www."+sites[i].domain, app)
	}
	document["sites"] = json.RawMessage("[" + list.String() + "]")
	data, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	if err := n.client.SetState(ctx, bytes.NewReader(data), int64(len(data))); err != nil {
		return nil, fmt.Errorf("restore a state of %d sites: %w", count, err)
	}
	return sites, nil
}

// words of which pages are made.
var words = strings.Fields(`the site of a small town with its library market harbour museum and school where people
	read news about trains weather concerts openings prices gardens bicycles bread boats bridges and festivals`)

// page makes an HTML page of the size in bytes, the same each time, which compresses about as well as real ones.
func page(marker string, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>%s</title></head>\n<body>\n<h1>%[1]s</h1>\n", marker)
	// A linear congruential generator (Knuth, MMIX): what it yields must only be the same everywhere.
	seed := uint64(len(marker)) + uint64(size)
	next := func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed>>33) % n
	}
	for b.Len() < size {
		fmt.Fprintf(&b, "<section id=\"s%x\" class=\"card card-%d\"><h2>%s %s</h2><p>", next(1<<30), next(9), words[next(len(words))], words[next(len(words))])
		for range 20 + next(30) {
			b.WriteString(words[next(len(words))] + " ")
		}
		fmt.Fprintf(&b, "<a href=\"/%s/%x\">%s</a></p></section>\n", words[next(len(words))], next(1<<30), words[next(len(words))])
	}
	b.Truncate(size - len("</body></html>\n"))
	b.WriteString("</body></html>\n")
	return b.Bytes()
}
