package api

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// DefaultPort is the port of the API if nothing else is said.
const DefaultPort = 2265

// ParseNode reads a node's address as people write it: a host name or an IP address, an IPv6 address with or
// without brackets, optionally with a port ("node:2265", "[::1]:2265"). The given port applies if there is none in
// the address, and DefaultPort if both are missing. It returns host (without brackets, lower case) and port.
func ParseNode(node string, port int) (host string, p int, err error) {
	node = strings.TrimSpace(node)
	if port == 0 {
		port = DefaultPort
	}
	switch {
	case node == "":
		return "", 0, fmt.Errorf("the node's address is empty")
	case strings.ContainsAny(node, "/@?# \t"):
		return "", 0, fmt.Errorf("%q is not a node's address: give a host, or host:port", node)
	}
	host = node
	if h, portText, e := net.SplitHostPort(node); e == nil {
		n, e := strconv.Atoi(portText)
		if e != nil {
			return "", 0, fmt.Errorf("%q: the port is not a number", node)
		}
		host, port = h, n
	} else if strings.HasPrefix(node, "[") && strings.HasSuffix(node, "]") {
		host = node[1 : len(node)-1]
	}
	if port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("port %d of node %q is not between 1 and 65535", port, host)
	}
	if host == "" || strings.ContainsAny(host, "[]") || (strings.Contains(host, ":") && !isIPv6(host)) {
		return "", 0, fmt.Errorf("%q is not a node's address: give a host, or host:port", node)
	}
	return strings.ToLower(host), port, nil
}

// isIPv6 tells whether host is an IPv6 address, with or without a zone.
func isIPv6(host string) bool {
	address, _, _ := strings.Cut(host, "%")
	ip := net.ParseIP(address)
	return ip != nil && strings.Contains(address, ":")
}
