package programs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Listens tells whether it is this process that listens on a TCP port of IPv4, and not another that took the port in
// between (see proc(5): the socket's inode is in /proc/net/tcp and behind one of the process's descriptors).
func (p *Process) Listens(port int) bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	local, listening := fmt.Sprintf(":%04X", port), []byte("0A")
	for line := range bytes.Lines(table) {
		f := bytes.Fields(line) // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
		if len(f) > 9 && strings.HasSuffix(string(f[1]), local) && bytes.Equal(f[3], listening) && p.has("socket:["+string(f[9])+"]") {
			return true
		}
	}
	return false
}

func (p *Process) has(descriptor string) bool {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.process.Pid)) // the pattern is right
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == descriptor {
			return true
		}
	}
	return false
}
