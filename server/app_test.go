package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"statiko/api"
)

func TestUpload_PartsInAnyOrder(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	archive := string(zipped(t, map[string]string{"index.html": "hello"}))
	sum := sha256.Sum256([]byte(archive))
	hash := base64.StdEncoding.EncodeToString(sum[:])
	n.upload(part{"file", archive}, part{"type", "zip"}, part{"name", "A-1"}).want(204)
	n.upload(part{"name", "a-2"}, part{"file", archive}, part{"hash", hash}, part{"other", "x"}, part{"type", "zip"}, part{"signature", ""}).want(204)
	n.upload(part{"name", "a-1"}, part{"type", "zip"}, part{"file", archive}).want(204) // the same again
	other := string(zipped(t, map[string]string{"index.html": "another"}))
	n.upload(part{"name", "a-1"}, part{"type", "zip"}, part{"file", other}).fails(api.CodeExists)

	var apps []api.App
	n.get("/app").want(200).into(&apps)
	if len(apps) != 2 || apps[0].Name != "a-1" || apps[1].Name != "a-2" || apps[0].Size != int64(len(archive)) ||
		apps[0].LastModified.IsZero() || apps[0].SHA256 != fmt.Sprintf("%x", sum) {
		t.Errorf("apps %+v", apps)
	}
}

func TestUpload_Faults(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	archive := string(zipped(t, map[string]string{"index.html": "hello"}))
	name, typ, file := part{"name", "a-1"}, part{"type", "zip"}, part{"file", archive}
	for why, test := range map[string]struct {
		parts  []part
		code   string
		fields []string
	}{
		"nothing":              {nil, api.CodeInvalid, []string{"file", "name", "type"}},
		"no file":              {[]part{name, typ}, api.CodeInvalid, []string{"file"}},
		"no name, no type":     {[]part{file}, api.CodeInvalid, []string{"name", "type"}},
		"bad name and type":    {[]part{{"name", "../x"}, {"type", "exe"}, file}, api.CodeInvalid, []string{"name", "type"}},
		"bad name behind file": {[]part{file, typ, {"name", "../x"}}, api.CodeInvalid, []string{"name"}},
		"type in upper case":   {[]part{name, {"type", "ZIP"}, file}, api.CodeInvalid, []string{"type"}},
		"type with a dot":      {[]part{name, {"type", ".zip"}, file}, api.CodeInvalid, []string{"type"}},
		"long signature":       {[]part{name, typ, {"signature", strings.Repeat("A", 1025)}, file}, api.CodeInvalid, []string{"signature"}},
		"long hash":            {[]part{name, typ, {"hash", strings.Repeat("A", 65)}, file}, api.CodeInvalid, []string{"hash"}},
		"endless name":         {[]part{{"name", strings.Repeat("a", maxUploadField+1)}, typ, file}, api.CodeInvalid, []string{"name", "name"}},
		"wrong hash":           {[]part{name, typ, {"hash", base64.StdEncoding.EncodeToString(make([]byte, 32))}, file}, api.CodeInvalid, []string{"hash"}},
		"empty file":           {[]part{name, typ, {"file", ""}}, api.CodeInvalid, []string{"file"}},
		"two files":            {[]part{file, file, name, typ}, api.CodeInvalid, []string{"file"}},
		"two names":            {[]part{name, name, typ, file}, api.CodeInvalid, []string{"name"}},
		"no archive":           {[]part{name, typ, {"file", "this is no archive"}}, api.CodeInvalid, []string{"file"}},
		"W51 too large":        {[]part{name, typ, {"file", strings.Repeat("x", 1<<20+1)}}, api.CodeTooLarge, nil},
		"W51 far too large":    {[]part{name, typ, {"file", strings.Repeat("x", 3<<20)}}, api.CodeTooLarge, nil},
		"too many parts":       {append(make([]part, maxUploadParts), name, typ, file), api.CodeMalformed, nil},
	} {
		t.Run(why, func(t *testing.T) {
			a := n.in(t).upload(test.parts...)
			a.fails(test.code, test.fields...)
		})
	}
	n.do(request{method: "POST", path: "/app", body: "x"}).fails(api.CodeMediaType)
	n.do(request{method: "POST", path: "/app", body: "x", contentType: "multipart/form-data"}).fails(api.CodeMediaType)
	n.do(request{method: "POST", path: "/app", body: "x", contentType: "multipart/form-data; boundary=b"}).fails(api.CodeMalformed)
	whole, contentType := form(t, name, typ, file)
	for _, cut := range []int{len(whole) - 1, len(whole) - 10, len(whole) / 2, 100} {
		n.do(request{method: "POST", path: "/app", body: whole[:cut], contentType: contentType})
	}
	n.get("/app").want(200)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(n.path), "repo", ".upload*"))
	if err != nil || len(left) > 0 {
		t.Errorf("uploads were left behind: %v %v", left, err)
	}
}

// An upload of which a half came must not become a bundle, nor leave its half behind.
func TestUpload_CutOff(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	archive := string(zipped(t, map[string]string{"index.html": "hello"}))
	whole, contentType := form(t, part{"name", "a-1"}, part{"type", "zip"}, part{"file", archive})
	for cut := 1; cut < len(whole)-4; cut += 7 { // without the last boundary's dashes the body is not whole
		if a := n.do(request{method: "POST", path: "/app", body: whole[:cut], contentType: contentType}); a.status != 422 {
			a.fails(api.CodeMalformed)
		}
	}
	n.get("/app").same("[]")

	// The connection breaks.
	for _, framing := range []string{"Content-Length: " + strconv.Itoa(len(whole)), "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /app HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: %s\r\n%s\r\n\r\n", testPSK, contentType, framing)
		body := whole[:len(whole)-8]
		if strings.HasPrefix(framing, "Transfer") {
			body = append(fmt.Appendf(nil, "%x\r\n", len(whole)), whole...) // all of it, but no end of the chunks
		}
		if _, err := conn.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if strings.HasPrefix(framing, "Content-Length") && !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
			t.Errorf("%s: answer %q", framing, answer)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(n.path), "repo", ".upload*"))
	if err != nil || len(left) > 0 {
		t.Errorf("uploads were left behind: %v %v", left, err)
	}
	n.do(request{method: "POST", path: "/app", body: io.MultiReader(bytes.NewReader(whole)), contentType: contentType}).want(204)
}

func TestAppMetadata(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.app("docs-1")
	set := func(name string, body string) *answer { return n.post("/app/"+name, body) }
	set("docs-1", `{}`).want(204)
	set("Docs-1", `{"signature":"","hash":""}`).want(204)
	set("docs-1", ``).fails(api.CodeMalformed)
	set("none", `{}`).fails(api.CodeNotFound)
	set("none", `{"signature":"`+strings.Repeat("A", 2000)+`"}`).fails(api.CodeNotFound)
	set("_x", `{}`).fails(api.CodeInvalid, "name")
	set("docs-1", `{"signature":"`+strings.Repeat("A", 1028)+`","hash":"`+strings.Repeat("A", 68)+`"}`).fails(api.CodeInvalid, "signature", "hash")
	set("docs-1", `{"hash":"`+base64.StdEncoding.EncodeToString(make([]byte, 32))+`"}`).fails(api.CodeInvalid, "hash")
	set("docs-1", `{"hash":7}`).fails(api.CodeInvalid, "hash")
	n.do(request{method: "POST", path: "/app/docs-1", body: `{}`, header: map[string]string{"If-Match": `"0-0"`}}).fails(api.CodePrecondition)
}

// The tag of a bundle is in the list, and in the answers to what stores it; If-Match takes it.
func TestApp_ETag(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.app("docs-1")
	tag := func() string {
		t.Helper()
		var list []api.App
		n.get("/app").want(200).into(&list)
		if len(list) != 1 || list[0].ETag == "" {
			t.Fatalf("bundles %+v", list)
		}
		return list[0].ETag
	}
	first := tag()
	set := func(tag, signature string) *answer {
		return n.do(request{method: "POST", path: "/app/docs-1", body: `{"signature":"` + signature + `"}`, header: map[string]string{"If-Match": tag}})
	}
	signature := base64.StdEncoding.EncodeToString(make([]byte, 512))
	if got := set(first, "").want(204).header.Get("ETag"); got != first {
		t.Errorf("nothing changed, and the tag is %s, was %s", got, first)
	}
	second := set(first, signature).want(204).header.Get("ETag")
	if second == first || second != tag() {
		t.Errorf("the tag is %s after a change, in the list %s; it was %s", second, tag(), first)
	}
	set(first, "").fails(api.CodePrecondition)
	n.do(request{method: "DELETE", path: "/app/docs-1", header: map[string]string{"If-Match": first}}).fails(api.CodePrecondition)
	n.do(request{method: "DELETE", path: "/app/docs-1", header: map[string]string{"If-Match": second}}).want(204)
}

func TestDeleteApp(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	n.app("docs-1")
	n.do(request{method: "DELETE", path: "/app/_x"}).fails(api.CodeInvalid, "name")
	n.do(request{method: "DELETE", path: "/app/none"}).fails(api.CodeNotFound)
	n.do(request{method: "DELETE", path: "/app/docs-1", header: map[string]string{"If-Match": `"0-0"`}}).fails(api.CodePrecondition)
	n.do(request{method: "DELETE", path: "/app/DOCS-1"}).want(204)
	n.get("/app").same("[]")
}

func TestDiskFull_IsToldAsSuch(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	_, noSpace := full.Write([]byte("x"))
	if noSpace == nil {
		t.Fatal("/dev/full took a byte")
	}
	n := start(t, func(o *Options) { o.Ready = nil })
	c := &call{w: &recorder{}, r: mustRequest(t)}
	if e := n.server.apiError(c, errors.Join(errors.New("store upload"), noSpace)); e.Code != api.CodeDiskFull {
		t.Errorf("a full disk is %q", e.Code)
	}
}
