package main

import (
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
)

// inherited returns the ports that systemd opened for this process (sd_listen_fds(3)), by the names of their sockets
// (FileDescriptorName=): "api", "http" and "https". Another name, or one that stands twice, is an error.
func inherited() (map[string]net.Listener, error) {
	found, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take over the ports that systemd opened: %w", err)
	}
	all := map[string]net.Listener{}
	for name, listeners := range found {
		switch {
		case name != "api" && name != "http" && name != "https":
			err = fmt.Errorf("systemd passes a socket named %q; its unit needs FileDescriptorName=api, http or https", name)
		case len(listeners) != 1 || !isTCP(listeners[0]):
			err = fmt.Errorf("systemd passes %d sockets named %q; one TCP socket of each name can be used", len(listeners), name)
		default:
			all[name] = listeners[0]
		}
	}
	if err != nil {
		for _, listeners := range found {
			for _, l := range listeners {
				if l != nil {
					_ = l.Close() // the first fault is the one to tell
				}
			}
		}
		return nil, err
	}
	return all, nil
}

func isTCP(l net.Listener) bool {
	_, ok := l.(*net.TCPListener)
	return ok
}
