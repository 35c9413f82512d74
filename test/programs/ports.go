package programs

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports below those that the system gives to outgoing connections: a client that dials a dead member again and again
// could otherwise be given the member's own port, and be connected with itself.
const (
	lowestPort  = 15000
	highestPort = 32000
)

// FreePorts returns ports of the loopback that nobody listens on.
func FreePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		held, ports = append(held, l), append(ports, port)
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d", n, lowestPort, highestPort)
}
