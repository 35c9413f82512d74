package server

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"statiko/api"
)

// authenticate finds out whether the caller proves to know the pre-shared key. The error is for routes that need
// it. A request without Authorization is no attempt at guessing.
func (s *Server) authenticate(c *call) error {
	value := strings.Trim(c.r.Header.Get("Authorization"), " \t")
	value = strings.TrimPrefix(value, "Bearer ")
	switch {
	case !s.hasPSK:
		return unauthorized("no method of authentication is enabled on this node")
	case value == "":
		return unauthorized("this route needs the header Authorization")
	}
	// Comparing digests takes the same time wherever the texts differ, and however long they are.
	digest := sha256.Sum256([]byte(value))
	ok, wait := s.attempts.try(clientOf(c.r), func() bool {
		return subtle.ConstantTimeCompare(digest[:], s.psk[:]) == 1
	})
	if wait > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return api.Errorf(api.CodeTooMany, "too many failed attempts to authenticate from your address; wait before trying again")
	}
	if !ok {
		return unauthorized("the key or token is wrong")
	}
	c.authenticated = true
	return nil
}

// authenticateNode makes sure that another node of the cluster calls. Guessing is of no use there, so it is not
// counted.
func (s *Server) authenticateNode(c *call) error {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		return err
	}
	if c.node, err = s.Cluster.Verify(c.r, body); err != nil {
		return unauthorized(err.Error())
	}
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	c.authenticated = true
	return nil
}

func unauthorized(message string) error {
	return api.Errorf(api.CodeUnauthorized, "%s", message)
}

// clientOf returns whom failed attempts are counted for: the peer's address, of IPv6 the network of 64 bits, in
// which one machine has all addresses. Headers that name another address are not believed.
func clientOf(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := peer.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
