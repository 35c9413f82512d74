package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/grpc/grpclog"

	"statiko/config"
)

// What gRPC has to say is in the log, in its format; less than errors is not worth a line.
func TestNewLogger_LinesOfGRPCAreInItsFormat(t *testing.T) {
	var out bytes.Buffer
	if _, err := newLogger(config.Log{Level: "info", Format: "json"}, environment{stderr: &out}); err != nil {
		t.Fatal(err)
	}
	grpclog.Warning("a warning")
	grpclog.Error("too many pings")
	var line struct{ Level, Logger, Msg string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Level != "error" || line.Logger != "grpc" || !strings.Contains(line.Msg, "too many pings") {
		t.Errorf("the log is %q: %v", out.String(), err)
	}
}
