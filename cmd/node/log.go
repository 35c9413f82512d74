package main

import (
	"fmt"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zapgrpc"
	"golang.org/x/term"
	"google.golang.org/grpc/grpclog"

	"statiko/config"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// newLogger writes to standard error: lines for people on a terminal, JSON elsewhere, unless the configuration says
// otherwise.
func newLogger(c config.Log, env environment) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	format := c.Format
	if format == "" {
		format = "json"
		if env.terminal {
			format = "console"
		}
	}
	e := zap.NewProductionEncoderConfig()
	e.TimeKey, e.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	var encoder zapcore.Encoder
	if format == "console" {
		e.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		e.EncodeLevel = zapcore.CapitalLevelEncoder
		if env.terminal && env.getenv("NO_COLOR") == "" {
			e.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		encoder = zapcore.NewConsoleEncoder(e)
	} else {
		encoder = zapcore.NewJSONEncoder(e)
	}
	sink := zapcore.Lock(zapcore.AddSync(env.stderr))
	log := zap.New(zapcore.NewCore(encoder, sink, level))
	// The library of etcd's client writes lines of its own otherwise, in a format of its own.
	grpclog.SetLoggerV2(zapgrpc.NewLogger(log.Named("grpc").WithOptions(zap.IncreaseLevel(max(level, zapcore.ErrorLevel)))))
	return log, nil
}
