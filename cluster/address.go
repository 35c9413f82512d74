package cluster

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Address returns the URL that other nodes reach this one's API at. advertise is a host with an optional port, or ""
// for the given host; the port is that of the API where advertise has none. secure tells whether the API talks TLS.
func Address(advertise, host string, port int, secure bool) (string, error) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	if advertise == "" {
		advertise = host
	}
	p := strconv.Itoa(port)
	if h, given, err := net.SplitHostPort(advertise); err == nil {
		advertise, p = h, given
	}
	advertise = strings.TrimSuffix(strings.TrimPrefix(advertise, "["), "]")
	u, err := url.Parse(scheme + "://" + net.JoinHostPort(advertise, p))
	if err != nil || advertise == "" || u.Hostname() != advertise {
		return "", fmt.Errorf("%q is not a host with an optional port that other nodes could reach this one at", advertise)
	}
	return u.String(), nil
}
