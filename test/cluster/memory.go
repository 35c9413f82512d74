package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory returns what the process has resident now, and had at most, in bytes (proc(5): VmRSS, VmHWM).
func (p *Process) Memory() (now, peak int64, err error) {
	path := fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		switch {
		case err != nil:
			return 0, 0, fmt.Errorf("%s: %w", path, err)
		case f[0] == "VmRSS:":
			now = n << 10
		case f[0] == "VmHWM:":
			peak = n << 10
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("%s does not say how much memory there is", path)
	}
	return now, peak, nil
}
