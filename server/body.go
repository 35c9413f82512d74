package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

	"statiko/api"
	"statiko/state"
)

// maxBody bounds all bodies but state documents and uploads, in bytes. The longest are a certificate and its key.
const maxBody = 1 << 20

// decode reads the body into a pointer: JSON or, if form is not nil, a form, whose fields form takes.
func (c *call) decode(into any, form func(url.Values) error) error {
	data, mediaType, params, err := c.read(maxBody)
	if err != nil {
		return err
	}
	switch {
	case mediaType == "application/json":
		return decodeJSON(data, into)
	case form != nil && mediaType == "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(data))
		if err != nil {
			return malformed("the form cannot be read: %v", err)
		}
		return form(values)
	case form != nil && mediaType == "multipart/form-data":
		// The body is in memory already, and the limit is above its size: nothing goes to disk.
		f, err := multipart.NewReader(bytes.NewReader(data), params["boundary"]).ReadForm(maxBody)
		if err != nil {
			return malformed("the form cannot be read: %v", err)
		}
		return form(f.Value)
	}
	return c.unsupported(form != nil)
}

// read reads a body of at most limit bytes, and what it is.
func (c *call) read(limit int64) (data []byte, mediaType string, params map[string]string, err error) {
	header := c.r.Header.Get("Content-Type")
	if header != "" {
		if mediaType, params, err = mime.ParseMediaType(header); err != nil && mediaType == "" {
			return nil, "", nil, c.unsupported(false)
		}
	}
	data, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			drain(c.r.Body, limit)
			return nil, "", nil, err
		}
		return nil, "", nil, malformed("the body ended early: %v", err)
	}
	if header == "" && len(data) == 0 {
		return nil, "", nil, malformed("the body is empty; this route needs a JSON object")
	}
	return data, mediaType, params, nil
}

// drain throws away at most limit bytes of a body that is refused. A caller that is still sending would see the
// connection break instead of the answer.
func drain(body io.Reader, limit int64) {
	_, _ = io.CopyN(io.Discard, body, limit) // whatever happens, the refusal is what matters
}

// unsupported says that a body is of a type that the route does not take.
func (c *call) unsupported(form bool) error {
	message := "bodies are of type application/json here"
	if form {
		message += ", or forms"
	}
	got := "it has no Content-Type"
	if t := c.r.Header.Get("Content-Type"); t != "" {
		got = "this is " + printable(t)
	}
	return api.Errorf(api.CodeMediaType, "%s; %s", message, got)
}

// decodeJSON reads exactly one JSON object. Names match in any letter case, and unknown ones are ignored, as callers
// of the API are used to.
func decodeJSON(data []byte, into any) error {
	trimmed := bytes.TrimSpace(data)
	switch {
	case len(trimmed) == 0:
		return malformed("the body is empty; this route needs a JSON object")
	case json.Valid(trimmed) && trimmed[0] != '{':
		return malformed("the body is not a JSON object")
	}
	err := json.Unmarshal(data, into)
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return notJSON(data, syntax)
	case errors.As(err, &wrongType):
		return invalid("the request", wrongJSONType(wrongType.Field, wrongType))
	}
	return malformed("the body cannot be read: %v", err)
}

// wrongJSONType words a type that does not fit, without Go's names.
func wrongJSONType(field string, err *json.UnmarshalTypeError) state.Fault {
	return fault(field, "is a JSON %s, which does not belong here", err.Value)
}

// notJSON says where a text stops being JSON.
func notJSON(data []byte, err *json.SyntaxError) error {
	offset := int(max(0, min(err.Offset-1, int64(len(data)))))
	before := data[:offset]
	line, column := 1+bytes.Count(before, []byte("\n")), offset-bytes.LastIndexByte(before, '\n')
	e := malformed("the body is not JSON: line %d, column %d: %v", line, column, err)
	e.Details = []api.Detail{{Line: line, Column: column, Message: fmt.Sprint(err)}}
	return e
}
