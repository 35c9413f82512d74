package nginx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"statiko/bundle"
	"statiko/webserver"
)

// class is how some sites are served: all that stands in a server block but their names. Sites without a manifest are
// one class, those that nothing is deployed to another, and those with equal manifests one for each such manifest.
type class struct {
	// id is a hash of what the class asks for.
	id string
	// before stands before the server block, body inside of it. They end with a line break.
	before, body string
	// light is nil for a class that needs a server block of its own.
	light *light
}

// classData is what the template is given.
type classData struct {
	// Robots asks search engines to stay away.
	Robots bool
	// Placeholder is for sites without a bundle.
	Placeholder bool
	Rewrites    []rewriteData
	ErrorPages  []errorPageData
	Pages       []pageData
	Locations   []locationData
	// Misses are the named locations for paths that are no file, one for each effect on headers.
	Misses []locationData
}

type rewriteData struct{ Pattern, Target string }

type errorPageData struct {
	Status int
	// Page is where the answer is: our own, or the bundle's.
	Page string
}

// pageData is an error page of a bundle.
type pageData struct {
	Name, File, Form1, Form2 string
	Compressible             bool
}

type locationData struct {
	// Head is the modifier and the path or pattern.
	Head string
	// Kind is "static", "deny" or "node", for what the node answers.
	Kind string
	// Miss is the named location for paths that are no file.
	Miss      string
	Encoded   bool
	OwnRobots bool
	Type      string
	Expires   string
	Headers   []headerData
}

type headerData struct{ Name, Value string }

// ownStatuses are those with pages of our own.
func ownStatuses() []int { return []int{400, 403, 404, 405, 412, 500, 502, 504} }

// newClass makes the class of a site. Its errors say what of the manifest nginx cannot do.
func (r *renderer) newClass(site *webserver.Site) (*class, error) {
	d := classData{Robots: site.Temporary, Placeholder: site.Root == ""}
	var before strings.Builder
	pages := map[int]string{}
	m := site.Manifest
	if m == nil || d.Placeholder {
		m = &bundle.Manifest{}
	}
	for status, page := range map[int]string{403: m.Page403, 404: m.Page404} {
		if page == "" {
			continue
		}
		if err := checkWord("the name of an error page", page); err != nil {
			return nil, err
		}
		pages[status] = fmt.Sprintf("//page%d", status)
	}
	for _, status := range ownStatuses() {
		page := pages[status]
		if page == "" {
			page = "//error"
		} else {
			d.Pages = append(d.Pages, newPage(status, map[int]string{403: m.Page403, 404: m.Page404}[status]))
		}
		d.ErrorPages = append(d.ErrorPages, errorPageData{status, page})
	}
	if err := d.manifest(m, &before); errors.Is(err, errTooLong) {
		// The node can: it answers all of this site's requests.
		d.Rewrites, d.Misses, d.Locations = nil, nil, []locationData{{Head: "/", Kind: "node"}}
		before.Reset()
	} else if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if err := r.site.Execute(&body, d); err != nil {
		return nil, err
	}
	c := &class{before: before.String(), body: body.String()}
	sum := sha256.Sum256([]byte(c.before + "\n" + c.body))
	c.id = hex.EncodeToString(sum[:10])
	c.light = newLight(site, c.id)
	return c, nil
}

func newPage(status int, page string) pageData {
	return pageData{
		Name: fmt.Sprintf("//page%d", status), File: quoted("/files/" + page),
		Form1: `"/$statiko_page_form1` + quoted("/" + page)[1:], Form2: `"/$statiko_page_form2` + quoted("/" + page)[1:],
		Compressible: bundle.Compressible(page),
	}
}

// manifest renders rewrites and rules.
func (d *classData) manifest(m *bundle.Manifest, before *strings.Builder) error {
	for i := range m.Rewrites {
		rw, err := newRewrite(&m.Rewrites[i])
		if err != nil {
			return fmt.Errorf("rewrite %d of the manifest: %w", i+1, err)
		}
		d.Rewrites = append(d.Rewrites, rw)
	}
	var root *locationData
	for i := range m.Rules {
		rule := &m.Rules[i]
		l, err := newLocation(rule, before)
		if err != nil {
			return fmt.Errorf("rule %d of the manifest: %w", i+1, err)
		}
		if l.Head == "/" {
			root = &l
			continue
		}
		d.Locations = append(d.Locations, l)
	}
	if root == nil {
		root = &locationData{Head: "/", Kind: "static"}
	}
	d.Locations = append(d.Locations, *root)
	for i := range d.Locations {
		l := &d.Locations[i]
		if l.Kind != "static" {
			continue
		}
		same := slices.IndexFunc(d.Misses, func(m locationData) bool {
			return m.Expires == l.Expires && slices.Equal(m.Headers, l.Headers)
		})
		if same >= 0 {
			l.Miss = d.Misses[same].Miss
			continue
		}
		l.Miss = "@miss" + strconv.Itoa(len(d.Misses))
		d.Misses = append(d.Misses, *l)
	}
	return nil
}

func newRewrite(r *bundle.Rewrite) (rewriteData, error) {
	pattern, err := translate(r.Pattern.String(), true)
	if err != nil {
		return rewriteData{}, err
	}
	rw := rewriteData{Pattern: `"` + pattern + `"`, Target: "//node"}
	path, query, _ := strings.Cut(r.Target, "?")
	if strings.Contains(path, "//") || strings.Contains(path, "/.") {
		return rw, nil // nginx would not resolve this; the node does
	}
	target := path
	if query != "" {
		target += "?" + query
	}
	if err := checkWord("the target", target); err != nil {
		return rewriteData{}, err
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(target, "$")
		b.WriteString(escaped(before))
		if !found {
			break
		}
		if after != "" && after[0] >= '1' && after[0] <= '9' {
			b.WriteString("$" + after[:1])
			after = after[1:]
		} else {
			b.WriteString(dollar)
		}
		target = after
	}
	rw.Target = `"` + b.String() + `"`
	return rw, nil
}

func newLocation(rule *bundle.Rule, before *strings.Builder) (locationData, error) {
	l := locationData{Kind: "static"}
	switch rule.Matcher {
	case bundle.MatchExact, bundle.MatchPrefix:
		if err := checkWord("the path", rule.Value); err != nil {
			return l, err
		}
		l.Head = "= " + plain(rule.Value)
		if rule.Matcher == bundle.MatchPrefix {
			l.Head = "^~ " + plain(rule.Value)
		}
		if rule.Matcher == bundle.MatchPrefix && rule.Value == "/" {
			l.Head = "/"
		}
	default:
		if rule.Pattern == nil {
			return l, errors.New("has no pattern")
		}
		pattern, err := translate(rule.Pattern.String(), false)
		if err != nil {
			return l, err
		}
		l.Head = `~ "` + pattern + `"`
	}
	switch o := &rule.Options; {
	case o.Deny:
		l.Kind = "deny"
	case o.Proxy != nil:
		l.Kind = "node"
	default:
		return l, l.effect(o, before)
	}
	return l, nil
}

// effect renders what a rule does to the header of an answer.
func (l *locationData) effect(o *bundle.Options, before *strings.Builder) error {
	own := func(name string) bool {
		return slices.ContainsFunc(o.Headers, func(h bundle.Header) bool { return strings.EqualFold(h.Name, name) })
	}
	if o.ClientCaching > 0 && !own("Cache-Control") {
		seconds := strconv.FormatInt(int64(o.ClientCaching/time.Second), 10)
		if own("Expires") {
			l.add("Cache-Control", `"max-age=`+seconds+`"`)
		} else {
			l.Expires = seconds + "s"
		}
		l.add("Cache-Control", "public")
		if !own("Pragma") {
			l.add("Pragma", "public")
		}
	}
	for _, h := range o.Headers {
		value, err := headerValue(h.Value, before)
		if err != nil {
			return fmt.Errorf("header %s: %w", h.Name, err)
		}
		switch strings.ToLower(h.Name) {
		case "content-length", "transfer-encoding", "connection", "etag", "trailer", "upgrade":
			continue // ours to decide; a manifest cannot name them, see package bundle
		case "content-type":
			l.Type = value
			continue
		case "content-encoding":
			l.Encoded = true
		case "x-robots-tag":
			l.OwnRobots = true
		case "location":
			// A redirect to somewhere else would be a different answer.
			name := variable("l", value)
			fmt.Fprintf(before, "map $sent_http_location %s {\n\t\"\" %s;\n\tdefault \"\";\n}\n", name, value)
			value = name
		}
		l.add(plain(h.Name), value)
	}
	return nil
}

func (l *locationData) add(name, value string) {
	l.Headers = append(l.Headers, headerData{name, value})
}

// headerValue renders a value. A long one, which nginx would not read, is put together from variables.
func headerValue(value string, before *strings.Builder) (string, error) {
	if err := checkWord("the value", value); err == nil {
		return quoted(value), nil
	} else if !errors.Is(err, errTooLong) {
		return "", err
	}
	var b strings.Builder
	for piece := range slices.Chunk([]byte(value), maxToken/2-10) {
		text := plain(string(piece))
		name := variable("t", text)
		fmt.Fprintf(before, "geo %s {\n\tdefault %s;\n}\n", name, text)
		b.WriteString("${" + name[1:] + "}")
	}
	return `"` + b.String() + `"`, nil
}

// variable names a variable by its value, so that equal ones may be defined twice.
func variable(kind, value string) string {
	sum := sha256.Sum256([]byte(value))
	return "$statiko_" + kind + hex.EncodeToString(sum[:12])
}

// renderer has the parsed templates.
type renderer struct {
	site, main *template.Template
}
