package nginx

import (
	"bufio"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

var complaintPlace = regexp.MustCompile(` in (\S+):(\d+)$`)

// parseComplaint finds what nginx -t complains of; nil if it says nothing.
func parseComplaint(stderr string) *configError {
	for line := range strings.Lines(stderr) {
		level, text := trimComplaint(strings.TrimSpace(line))
		if level != "emerg" {
			continue
		}
		e := &configError{message: text}
		if g := complaintPlace.FindStringSubmatch(text); g != nil {
			e.message = strings.TrimSuffix(text, g[0])
			e.file = g[1]
			e.line, _ = strconv.Atoi(g[2])
		}
		return e
	}
	return nil
}

// listenTo passes on what nginx writes to its log, until nobody can write there any more.
func (m *managed) listenTo(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		level, text := trimComplaint(lines.Text())
		switch level {
		case "emerg", "alert":
			m.mu.Lock()
			m.last = text
			m.mu.Unlock()
			m.s.log.Warn("nginx complains", zap.String("level", level), zap.String("text", text))
		case "crit":
			m.s.log.Info("nginx complains", zap.String("level", level), zap.String("text", text))
		default:
			m.s.log.Debug("nginx says", zap.String("level", level), zap.String("text", text))
		}
	}
}
