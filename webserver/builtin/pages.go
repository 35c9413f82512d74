package builtin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

//go:embed pages
var pageFiles embed.FS

// pages are the answers of our own.
type pages struct {
	welcome map[string]*file // of a site without a bundle, by path
	unknown *file            // for a host that is no site
	errors  map[int]*file    // by status
	other   *file            // for a status without an entry
}

func newPages() (*pages, error) {
	source := map[string]string{}
	for _, name := range []string{"welcome.html", "unknown.html", "error.html", "style.css", "robots.txt"} {
		b, err := pageFiles.ReadFile("pages/" + name)
		if err != nil {
			return nil, fmt.Errorf("built-in page: %w", err)
		}
		source[name] = string(b)
	}
	// A page on a site that is not ours brings its style along: /style.css is the site's there.
	style := func(page string) string { return strings.Replace(page, "{{style}}", source["style.css"], 1) }
	welcome := newPage("/index.html", source["welcome.html"])
	p := &pages{
		welcome: map[string]*file{
			"/": welcome, "/index.html": welcome,
			"/style.css":  newPage("/style.css", source["style.css"]),
			"/robots.txt": newPage("/robots.txt", source["robots.txt"]),
		},
		unknown: newPage("/index.html", style(source["unknown.html"])),
		errors:  map[int]*file{},
	}
	for _, status := range []int{301, 400, 403, 404, 405, 412, 500, 502, 503, 504} {
		text := strconv.Itoa(status) + " " + http.StatusText(status)
		p.errors[status] = newPage("/index.html", strings.ReplaceAll(style(source["error.html"]), "{{status}}", text))
	}
	p.other = p.errors[http.StatusInternalServerError]
	return p, nil
}

func (p *pages) errorPage(status int) *file {
	if f := p.errors[status]; f != nil {
		return f
	}
	return p.other
}

// newPage makes a file that is in memory only.
func newPage(path, body string) *file {
	f := &file{contentType: []string{contentType(path)}}
	sum := sha256.Sum256([]byte(body))
	f.forms[identity].describe("", int64(len(body)), `"`+hex.EncodeToString(sum[:8])+`"`)
	b := []byte(body)
	f.forms[identity].body.Store(&b)
	return f
}
