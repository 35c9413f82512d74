package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"statiko/api"
	"statiko/certs"
)

func TestLog_HasNoSecretsAndWarnsOfFaults(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	n := start(t, func(o *Options) {
		o.Log = zap.New(core)
		o.Ready = func() error { return errors.New("not yet") }
	})
	cert, key := pair(t, certs.Request{Names: []string{"example.org"}})
	n.post("/certificate", api.CertificateImport{Name: "x", Certificate: cert, Key: key}).want(204)
	n.post("/certificate", api.CertificateImport{Name: "y", Certificate: key, Key: cert}).fails(api.CodeInvalid)
	n.get("/state?token=query-secret").want(200)
	n.get("/nothing/path-secret").fails(api.CodeNoRoute)
	n.do(request{method: "GET", path: "/site", header: map[string]string{"Authorization": "guess-secret"}}).fails(api.CodeUnauthorized)
	n.get("/readyz").fails(api.CodeNotReady)
	n.server.WebServer = nil // a panic
	e := n.get("/status").fails(api.CodeInternal)

	var text strings.Builder
	warned := 0
	for _, entry := range logs.All() {
		fmt.Fprintln(&text, entry.Message, entry.ContextMap())
		if entry.Level == zapcore.ErrorLevel && strings.Contains(e.Message, fmt.Sprint(entry.ContextMap()["reference"])) {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("the panic stands %d times in the log under its reference", warned)
	}
	for _, secret := range []string{testPSK, "PRIVATE", "query-secret", "path-secret", "guess-secret", "Bearer"} {
		if strings.Contains(text.String(), secret) {
			t.Errorf("the log has %q:\n%s", secret, text.String())
		}
	}
	found := logs.FilterField(zap.String("route", "/certificate")).FilterField(zap.Int("status", 204)).FilterField(zap.String("method", "POST"))
	if found.Len() != 1 || found.All()[0].Level != zapcore.DebugLevel {
		t.Errorf("the log:\n%s", text.String())
	}
}
