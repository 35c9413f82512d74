package nginx

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"statiko/certs"
	"statiko/webserver"
)

// prober asks nginx which configuration it uses, over its own ports, as visitors come.
type prober struct {
	// host is the name under which nginx tells. Nobody else knows it.
	host string
	// pair is presented for this name, whatever else there is.
	pair webserver.Pair
}

// newProber takes up the pair that an earlier process left at path if it may, so that a configuration of then can be asked
// too. Else it makes a new one, by which a configuration of then cannot be taken for one of now.
func newProber(path string, left bool) (prober, error) {
	if left {
		if p, ok := leftProber(path); ok {
			return p, nil
		}
	}
	b := make([]byte, 12)
	if _, err := rand.Read(b); err != nil {
		return prober{}, err
	}
	p := prober{host: "check-" + hex.EncodeToString(b) + ".statiko.invalid"}
	certPEM, keyPEM, err := certs.SelfSigned(certs.Request{Names: []string{p.host}, KeyType: "ecdsa"})
	if err != nil {
		return prober{}, err
	}
	p.pair = webserver.Pair{CertificatePEM: certPEM, KeyPEM: keyPEM}
	return p, nil
}

func leftProber(path string) (p prober, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return p, false
	}
	pair, err := tls.X509KeyPair(b, b)
	if err != nil || len(pair.Leaf.DNSNames) != 1 || !checkHost.MatchString(pair.Leaf.DNSNames[0]) {
		return p, false
	}
	certificate, rest := pem.Decode(b)
	key, _ := pem.Decode(rest)
	if certificate == nil || key == nil {
		return p, false
	}
	p.host = pair.Leaf.DNSNames[0]
	p.pair = webserver.Pair{CertificatePEM: pem.EncodeToMemory(certificate), KeyPEM: pem.EncodeToMemory(key)}
	return p, true
}

// checkHost is what the name of a prober looks like.
var checkHost = regexp.MustCompile(`^check-[0-9a-f]{24}\.statiko\.invalid$`)

// answer is what a probe found.
type probed struct {
	revision string
	// leaf is the certificate that was presented.
	leaf []byte
}

// probeTimeout bounds one probe.
const probeTimeout = 5 * time.Second

// ask opens a new connection, as a visitor of the site named sni does, and asks for the revision.
func (p prober) ask(ctx context.Context, address, sni string) (probed, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var got probed
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return got, err
	}
	defer raw.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(deadline); err != nil {
			return got, err
		}
	}
	// The certificate is compared by whoever asked; it may be of any issuer.
	c := tls.Client(raw, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
	if err := c.HandshakeContext(ctx); err != nil {
		return got, fmt.Errorf("handshake for %s: %w", sni, err)
	}
	if chain := c.ConnectionState().PeerCertificates; len(chain) > 0 {
		got.leaf = chain[0].Raw
	}
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", p.host); err != nil {
		return got, err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return got, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 100))
	if err != nil {
		return got, err
	}
	if res.StatusCode == http.StatusOK {
		got.revision = strings.TrimSpace(string(body))
	}
	return got, nil
}

// dialable is an address at which a server that listens on the given one can be reached from this machine.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
		if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
			host = "127.0.0.1"
		} else {
			_ = l.Close()
		}
	}
	return net.JoinHostPort(host, port)
}
