package nginx

import (
	"embed"
	"fmt"
	"strings"
	"text/template"

	"statiko/bundle"
	"statiko/webserver/builtin"
	"statiko/webserver/media"
)

//go:embed templates
var templateFiles embed.FS

func newRenderer() (*renderer, error) {
	funcs := template.FuncMap{"proxying": proxying}
	parse := func(name string) (*template.Template, error) {
		return template.New(name).Funcs(funcs).ParseFS(templateFiles, "templates/"+name)
	}
	site, err := parse("site.conf.tmpl")
	if err != nil {
		return nil, err
	}
	main, err := parse("nginx.conf.tmpl")
	if err != nil {
		return nil, err
	}
	return &renderer{site: site, main: main}, nil
}

// proxying is how a request is passed on to the node.
func proxying() []string {
	return []string{
		"proxy_http_version 1.1;",
		"proxy_set_header Host $host;",
		"proxy_set_header Connection $statiko_connection;",
		"proxy_set_header Upgrade $http_upgrade;",
		"proxy_set_header " + builtin.PeerHeader + " $statiko_peer;",
		"proxy_set_header " + builtin.SchemeHeader + " $scheme;",
		"proxy_set_header " + builtin.NameHeader + " $ssl_server_name;",
		"proxy_request_buffering off;",
		"proxy_buffering off;",
		"proxy_connect_timeout 5s;",
		"proxy_read_timeout 120s;",
		"proxy_send_timeout 120s;",
		// What a proxied host says must not steer nginx.
		"proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;",
		"proxy_redirect off;",
	}
}

// mainData is what the template of the configuration is given.
type mainData struct {
	Revision, CheckHost, CheckPair string

	Managed            bool
	User               string
	Pid, Temp          string
	UnusedTemp         []string
	ShutdownTimeout    int
	OpenFiles          uint64
	Connections        int
	Socket             string
	Store, Welcome     string
	PairFile, NodePair string
	DHParams           string
	Manifest           string
	Statuses           []int
	Compressible       string
	Types              []string
	Weights            []weightData
	Compared           []string
	Texts              []textData
	HashSize           int
	Names, Pairs       []string
	Plain, Secure      []listenData
	SecureOptions      string
	HTTP2              bool
	CertificateCache   bool
	PublicPort         string
	Classes            []string
	Roots              string
	Shared             *sharedData
	Large              []largeData
}

// listenData is an address. Once is for the first server block that has it.
type listenData struct{ Address, Once string }

type weightData struct{ Name, Pattern string }

type textData struct{ Name, Text string }

// largeData is the server block of a class with many sites, whose names stand in files of their own.
type largeData struct {
	Before, Head, Body string
	Names              []string
}

// fixed fills in what never changes.
func (d *mainData) fixed(manifestFile string) error {
	d.Compressible = strings.Join(bundle.CompressibleExtensions(), "|")
	d.Weights = []weightData{{"br", "br"}, {"gzip", "(?:x-)?gzip"}, {"identity", "identity"}, {"star", `\*`}}
	d.Compared = []string{"br", "gzip"}
	d.Statuses = ownStatuses()
	for _, row := range media.Table() {
		d.Types = append(d.Types, plain(row.Type)+" "+strings.Join(row.Extensions, " "))
	}
	if manifestFile != "" {
		var t translator
		for _, r := range manifestFile {
			t.literal(r)
		}
		d.Manifest = `"~^/` + t.b.String() + `$"`
	}
	pages, err := builtin.Pages()
	if err != nil {
		return err
	}
	add := func(name string, page []byte) error {
		text := plain(string(page))
		if len(text) > maxToken {
			return fmt.Errorf("the page %s %w", name, errTooLong)
		}
		d.Texts = append(d.Texts, textData{name, text})
		return nil
	}
	for _, status := range ownStatuses() {
		if err := add(fmt.Sprintf("statiko_page%d", status), pages.Errors[status]); err != nil {
			return err
		}
	}
	return add("statiko_unknown", pages.Unknown)
}
