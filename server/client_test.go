package server

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"statiko/api"
	"statiko/state"
)

// The Go client and the server agree on every call, and on what errors mean.
func TestClient_SeesTheServersErrors(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	c, err := api.New(api.Options{BaseURL: n.url, Token: testPSK})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	if _, err := c.CreateSite(ctx, api.SiteCreate{Domain: "a.example.org", Aliases: []string{"b.example.org"}}); err != nil {
		t.Fatal(err)
	}
	none := []string{}
	archive := zipped(t, map[string]string{"index.html": "x"})
	for what, step := range map[string]struct {
		err  error
		want error
	}{
		"taken":          {second(c.CreateSite(ctx, api.SiteCreate{Domain: "b.example.org"})), state.ErrExists},
		"invalid":        {second(c.CreateSite(ctx, api.SiteCreate{Domain: "_default"})), state.ErrInvalid},
		"missing":        {second(c.Site(ctx, "c.example.org")), state.ErrNotFound},
		"no bundle":      {c.Deploy(ctx, "a.example.org", "none"), state.ErrInvalid},
		"no certificate": {c.DeleteCertificate(ctx, "none"), state.ErrNotFound},
		"precondition":   {second(c.ChangeSite(ctx, "a.example.org", api.SiteChange{Aliases: &none}, api.IfMatch(`"0-0"`))), state.ErrPrecondition},
		"bad document":   {c.SetState(ctx, strings.NewReader(`{"sites":null}`), -1), state.ErrInvalid},
		"foreign key":    {c.SetState(ctx, strings.NewReader(`{"sites":[],"keyId":"x"}`), -1), state.ErrForeignKey},
		"too large":      {c.UploadApp(ctx, "big", "zip", bytes.NewReader(make([]byte, 1<<20+700_000)), nil), state.ErrTooLarge},
		"upload":         {c.UploadApp(ctx, "docs-1", "zip", bytes.NewReader(archive), nil), nil},
		"sync":           {c.Sync(ctx), nil},
		"parameters":     {c.SetDHParams(ctx, "x"), state.ErrInvalid},
		"no signature":   {c.SetAppMetadata(ctx, "none", api.AppMetadata{}), state.ErrNotFound},
		"all":            {second(c.ClusterStatus(ctx)), nil},
		"health":         {second(c.Status(ctx, "", true)), nil},
	} {
		if !errors.Is(step.err, step.want) {
			t.Errorf("%s: %v, want %v", what, step.err, step.want)
		}
	}
	if d, err := c.CompareState(ctx, strings.NewReader(`{"sites":[]}`), -1); err != nil || len(d.Removed["sites"]) != 1 {
		t.Errorf("compare: %+v %v", d, err)
	}
}

func second[T any](_ T, err error) error { return err }
