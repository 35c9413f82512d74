package programs

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports below those that the system gives to outgoing connections: a client that dials a dead member again and again
// could otherwise be given the member's own port, and be connected with itself.
const (
	lowestPort  = 15000
	highestPort = 32000
)

// given are the ports that this process gave out: what runs at the same time must not share any.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreePorts returns ports of the loopback address that nobody listens on, and that it did not return before. A server can
// be started again and again on the same ones.
func FreePorts(n int) ([]int, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	var ports []int
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		given.ports[port] = true
		ports = append(ports, port)
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d", n, lowestPort, highestPort)
}
