package builtin

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"
)

// serveStatic answers with the file that a path names: path is decoded, clean and already rewritten, query is what
// the rewrite added.
func (s *Server) serveStatic(w http.ResponseWriter, r *http.Request, site *site, path, query string, effect *ruleEffect) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header()["Allow"] = allowedMethods[:]
		s.fail(w, r, site, http.StatusMethodNotAllowed)
		return
	}
	refuseBody(w, r)
	if site.root == "" {
		if f := s.pages.welcome[path]; f != nil {
			s.serveFile(w, r, f, http.StatusOK, effect)
		} else {
			s.fail(w, r, site, http.StatusNotFound)
		}
		return
	}
	if hidden(path) || s.isManifest(path) {
		s.fail(w, r, site, http.StatusNotFound)
		return
	}
	f, err := s.resolve(site, path)
	switch {
	case err == nil:
		s.serveFile(w, r, f, http.StatusOK, effect)
	case errors.Is(err, errIsFolder):
		target := escapeBytes((&url.URL{Path: path + "/", RawQuery: joinQuery(query, r.URL.RawQuery)}).RequestURI())
		effect.apply(w.Header(), http.StatusMovedPermanently)
		s.redirect(w, r, target)
	case errors.Is(err, fs.ErrNotExist):
		s.fail(w, r, site, http.StatusNotFound)
	case errors.Is(err, fs.ErrPermission):
		s.fail(w, r, site, http.StatusForbidden)
	default:
		s.log.Error("file of a bundle cannot be read", zap.String("domain", site.domain), zap.Error(err))
		s.fail(w, r, site, http.StatusInternalServerError)
	}
}

// resolve finds the file for a path; for a folder its index. Errors: as [loadFile], fs.ErrPermission for a folder
// without an index, errIsFolder for one that is named without its final slash.
func (s *Server) resolve(site *site, path string) (*file, error) {
	if !strings.HasSuffix(path, "/") {
		return s.lookup(site, path)
	}
	if f := s.files.get(fileKey{site.version, path}); f != nil {
		return f, nil
	}
	for _, index := range [...]string{"index.html", "index.htm"} {
		f, err := loadFile(site.root, fileKey{site.version, path + index})
		if err == nil {
			f.key.path = path // kept under the path that is asked for: no joining of strings the next time
			return s.files.put(f.key, f), nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errIsFolder) {
			return nil, err
		}
	}
	if _, err := loadFile(site.root, fileKey{site.version, path}); !errors.Is(err, errIsFolder) {
		return nil, fs.ErrNotExist
	}
	return nil, fs.ErrPermission
}

func (s *Server) lookup(site *site, path string) (*file, error) {
	key := fileKey{site.version, path}
	if f := s.files.get(key); f != nil {
		return f, nil
	}
	f, err := loadFile(site.root, key)
	if err != nil {
		return nil, err
	}
	return s.files.put(f.key, f), nil
}

// serveFile answers with a file. Conditions and ranges count only if the status is 200.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, f *file, status int, effect *ruleEffect) {
	h := w.Header()
	h["Content-Type"] = f.contentType
	if f.varies {
		h["Vary"] = varyEncoding[:]
	}
	if f.lastModified == nil && status != http.StatusMovedPermanently {
		h["Cache-Control"] = noCache[:] // a page of ours, which a deploy replaces
	}
	which := identity
	if accept := r.Header["Accept-Encoding"]; len(accept) > 0 && (effect == nil || !effect.encoded) {
		which = f.negotiate(joined(accept))
	}
	form := &f.forms[which]
	if status == http.StatusOK && f.lastModified != nil {
		h["Etag"], h["Last-Modified"] = form.etag, f.lastModified
		if s.conditional(w, r, f, form, effect) {
			return
		}
		h["Accept-Ranges"] = acceptRanges[:]
	}
	body, src, err := s.content(f, form)
	if err != nil {
		s.log.Error("file of a bundle cannot be read", zap.String("host", r.Host), zap.Error(err))
		f, status, effect = s.pages.errorPage(http.StatusInternalServerError), http.StatusInternalServerError, nil
		clear(h)
		h["Content-Type"], form = f.contentType, &f.forms[identity]
		body = *form.body.Load()
	}
	if src != nil {
		defer src.Close()
	}
	h["Content-Length"] = form.length
	if form.coding != nil {
		h["Content-Encoding"] = form.coding
	}
	effect.apply(h, status)
	w.WriteHeader(status)
	switch {
	case r.Method == http.MethodHead:
	case src != nil:
		s.copyBody(w, r, src)
	default:
		holdBack(r, len(body))
		_, _ = w.Write(body) // the client is gone; net/http closes the connection
	}
}

// holdBack makes one write of a small answer over HTTP/1.1. Below 3 KiB net/http does so by itself.
func holdBack(r *http.Request, size int) {
	if r.ProtoMajor != 1 || size < 3<<10 || size > maxHeldBody {
		return
	}
	if c, ok := r.Context().Value(connKey{}).(*stallConn); ok {
		c.holdBack()
	}
}

// conditional answers 304, 412 and requests for ranges. It returns false for a request that is none of those.
func (s *Server) conditional(w http.ResponseWriter, r *http.Request, f *file, form *form, effect *ruleEffect) bool {
	h := w.Header()
	switch status := precondition(r.Header, form.etag[0], f.modified); status {
	case 0:
	case http.StatusNotModified:
		effect.apply(h, status)
		delete(h, "Content-Type")
		w.WriteHeader(status)
		return true
	default:
		delete(h, "Etag")
		delete(h, "Last-Modified")
		s.serveFile(w, r, s.pages.errorPage(status), status, nil)
		return true
	}
	if _, ok := r.Header["Range"]; !ok {
		return false
	}
	// Ranges are of the identity form: parts of a compressed one are of no use to most who ask for them, and a
	// tag of another form in If-Range then gets the whole file.
	form = &f.forms[identity]
	body, src, err := s.content(f, form)
	if err != nil {
		return false // the caller meets the same error and answers it
	}
	var seeker io.ReadSeeker = bytes.NewReader(body)
	if src != nil {
		defer src.Close()
		seeker = src
	}
	h["Etag"] = form.etag
	h["Content-Type"] = effect.contentType(f.contentType) // of each part, if there are several
	http.ServeContent(&effectWriter{ResponseWriter: w, server: s, request: r, effect: effect}, r, "", f.modified, seeker)
	return true
}

// content returns the body in memory or, for a large file, the open file, which the caller closes.
func (s *Server) content(f *file, form *form) ([]byte, io.ReadSeekCloser, error) {
	body, err := form.small(s.files, f)
	if body != nil || err != nil {
		return body, nil, err
	}
	src, err := form.open()
	if err != nil {
		return nil, nil, err
	}
	return nil, src, nil
}

// copyBuffer is for large files: four records of TLS.
type copyBuffer [64 << 10]byte

// copyBody sends a large file, as long as the client takes some of it in time.
func (s *Server) copyBody(w http.ResponseWriter, r *http.Request, src io.Reader) {
	buf, ok := s.buffers.Get().(*copyBuffer)
	if !ok {
		buf = new(copyBuffer)
	}
	defer s.buffers.Put(buf)
	out := s.progress(w, r)
	// Only the writer, so that net/http does not take buffers of its own. An error means that the client is gone
	// or the disk failed; either way net/http ends the connection, as fewer bytes were sent than announced.
	_, _ = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{src}, buf[:])
}

// progress returns a writer that gives each write time of its own. On HTTP/1.1 [stallConn] does so already.
func (s *Server) progress(w http.ResponseWriter, r *http.Request) io.Writer {
	if r.ProtoMajor == 1 {
		return w
	}
	return &progressWriter{w: w, control: http.NewResponseController(w), stall: s.opt.Timeouts.Stall}
}

type progressWriter struct {
	w       io.Writer
	control *http.ResponseController
	stall   time.Duration
}

func (p *progressWriter) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(p.stall)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

// effectWriter applies a rule once the status is known.
type effectWriter struct {
	http.ResponseWriter
	server  *Server
	request *http.Request
	effect  *ruleEffect
	out     io.Writer
}

func (e *effectWriter) WriteHeader(status int) {
	e.effect.apply(e.Header(), status)
	e.ResponseWriter.WriteHeader(status)
}

func (e *effectWriter) Write(b []byte) (int, error) {
	if e.out == nil {
		e.out = e.server.progress(e.ResponseWriter, e.request)
	}
	return e.out.Write(b)
}

// joined is one header value from several, which mean the same (RFC 9110, 5.3).
func joined(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, ",")
}
