package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"

	"statiko/api"
	"statiko/bundle"
	"statiko/state"
)

// Limits of an upload beside its file.
const (
	maxUploadField = 4 << 10 // bytes of a part other than the file
	maxUploadParts = 32
	// uploadOverhead is what the parts' headers and the other parts may have besides, in bytes.
	uploadOverhead = 256 << 10
)

// upload is a multipart body that was read.
type upload struct {
	fields map[string]string
	file   *bundle.Spool
	faults []state.Fault
}

// uploadApp answers POST /app. The parts come in any order; the file goes to disk as it comes, and nothing else
// does. After a fault the rest is read and thrown away, for a caller that is still sending does not listen.
func (s *Server) uploadApp(c *call) error {
	whole := c.r.Body
	c.r.Body = http.MaxBytesReader(c.w, whole, s.MaxUpload+uploadOverhead)
	parts, err := c.r.MultipartReader()
	if err != nil {
		return api.Errorf(api.CodeMediaType, "an upload is of type multipart/form-data with a boundary; this is %s",
			printable(c.r.Header.Get("Content-Type")))
	}
	var u upload
	defer func() {
		if u.file != nil {
			u.file.Discard()
		}
	}()
	if err := s.readUpload(c.r.Context(), &u, parts); err != nil {
		// Running into the limit also makes net/http linger before it closes the connection.
		drain(c.r.Body, s.MaxUpload+uploadOverhead)
		drain(whole, s.MaxUpload)
		return err
	}
	if u.file == nil && len(u.faults) == 0 {
		u.faults = append(u.faults, fault("file", "is missing: the archive is a part of this name"))
	}
	for _, name := range []string{"name", "type"} {
		if _, ok := u.fields[name]; !ok {
			u.faults = append(u.faults, fault(name, "is missing"))
		}
	}
	if len(u.faults) > 0 {
		return invalid("the upload", u.faults...)
	}
	added, err := s.Library.Add(c.r.Context(), u.file, u.fields["name"], u.fields["type"], u.fields["signature"], u.fields["hash"])
	if added.Want > 0 {
		c.w.Header().Set(api.HeaderReplicas, fmt.Sprintf("%d/%d", added.Have, added.Want))
	}
	if errors.Is(err, bundle.ErrReplicas) {
		return api.Errorf(api.CodeReplicas, "%v; repo.strictReplicas asks for that many", err)
	}
	if err != nil {
		return err
	}
	s.sayStored(c, u.fields["name"], added.Revision)
	return s.appChanged(c, added.Revision)
}

// readUpload reads all parts.
func (s *Server) readUpload(ctx context.Context, u *upload, parts *multipart.Reader) error {
	u.fields = map[string]string{}
	for n := 0; ; n++ {
		// NextRawPart leaves the bytes as they are, whatever the part says of its encoding.
		part, err := parts.NextRawPart()
		switch {
		case err == io.EOF: // a wrapped one is an upload that was cut off
			return nil
		case err != nil:
			return badUpload(err)
		case n == maxUploadParts:
			return malformed("the upload has more than %d parts", maxUploadParts)
		}
		switch name := part.FormName(); name {
		case "file":
			err = s.readFile(ctx, u, part)
		case "name", "type", "signature", "hash":
			err = u.readField(name, part)
		default:
			err = skip(part)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Server) readFile(ctx context.Context, u *upload, part io.Reader) (err error) {
	if u.file != nil {
		u.faults = append(u.faults, fault("file", "stands twice"))
	}
	if len(u.faults) > 0 {
		return skip(part)
	}
	u.file, err = s.Library.Spool(ctx, part)
	if empty, ok := errors.AsType[*bundle.ArchiveError](err); ok {
		u.faults = append(u.faults, fault("file", "%v", empty))
		return nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return badUpload(err)
	}
	return err
}

func skip(part io.Reader) error {
	if _, err := io.Copy(io.Discard, part); err != nil {
		return badUpload(err)
	}
	return nil
}

func (u *upload) readField(name string, part io.Reader) error {
	value, err := io.ReadAll(io.LimitReader(part, maxUploadField+1))
	if err != nil {
		return badUpload(err)
	}
	if len(value) > maxUploadField {
		u.faults = append(u.faults, fault(name, "is longer than %d characters", maxUploadField))
		return nil // the next part is found by skipping the rest of this one
	}
	if _, twice := u.fields[name]; twice {
		u.faults = append(u.faults, fault(name, "stands twice"))
		return nil
	}
	text := string(value)
	u.fields[name] = text
	switch name {
	case "name":
		if _, err := state.CheckAppName(text); err != nil {
			u.faults = append(u.faults, fault(name, "%v", err))
		}
	case "type":
		if err := bundle.CheckType(text); err != nil {
			u.faults = append(u.faults, fault(name, "%v", err))
		}
	case "signature":
		u.faults = append(u.faults, metadataFaults(text, "")...)
	case "hash":
		u.faults = append(u.faults, metadataFaults("", text)...)
	}
	return nil
}

// badUpload says that a body is not a whole multipart body, unless it is too large.
func badUpload(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return malformed("the upload ended early or is not well-formed: %v", err)
}
