package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"statiko/state"
)

// Limits of a visit.
const (
	maxRedirects = 5
	maxHeader    = 256 << 10
)

// visit is how a site is visited.
type visit struct {
	site *state.Site
	// certificate is the DER of the one that it has to present; nil for any.
	certificate []byte
}

// visitKey is the key of a request's *visit in its context.
type visitKey struct{}

// Faults of a visit that are told as they are.
var (
	errCertificate = errors.New("the web server presents another certificate than the site's")
	errCircle      = fmt.Errorf("its start page leads to more than %d redirects", maxRedirects)
)

// make visits the site's start page. A site is well that answers, after redirects within itself, with a status 2xx and
// at least one byte, or that sends its visitors to another host, which is not followed: how that is is not the site's
// business. The error says what is wrong.
func (v *visit) make(ctx context.Context, client *http.Client, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, visitKey{}, v), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+v.site.Domain+"/", nil)
	if err != nil {
		return fmt.Errorf("it cannot be visited: %w", err)
	}
	request.Header.Set("User-Agent", "statiko-health")
	response, err := client.Do(request)
	if err != nil {
		return plain(ctx, timeout, err)
	}
	defer response.Body.Close()
	switch status := response.StatusCode; {
	case status/100 == 3 && v.leavesBy(response):
		return nil
	case status/100 != 2:
		return fmt.Errorf("its start page answers with status %d", status)
	}
	switch _, err := io.ReadFull(response.Body, make([]byte, 1)); {
	case errors.Is(err, io.EOF):
		return errors.New("its start page is empty")
	case err != nil:
		return plain(ctx, timeout, err)
	}
	return nil
}

// leavesBy tells whether an answer sends the visitor to another host.
func (v *visit) leavesBy(response *http.Response) bool {
	to, err := response.Location()
	return err == nil && !v.within(to)
}

// within tells whether an address is the site's own.
func (v *visit) within(u *url.URL) bool {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	return host == v.site.Domain || slices.Contains(v.site.Aliases, host)
}

// plain words why a visit failed.
func plain(ctx context.Context, timeout time.Duration, err error) error {
	for _, known := range []error{errCertificate, errCircle} {
		if errors.Is(err, known) {
			return known
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("its start page does not answer within %v", timeout)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("its start page does not answer: %w", err)
}

// newClient returns a client that reaches every host at the web server's addresses. Each request has a connection of
// its own, as the handshake is part of what is looked at.
func newClient(plain, secure []string, timeout time.Duration) *http.Client {
	// net/http lets dialing go on when the request was given up, so it has a limit of its own.
	dialer := &net.Dialer{Timeout: timeout}
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialFirst(ctx, dialer, plain)
			},
			DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				return dialTLS(ctx, dialer, secure, address)
			},
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			v, ok := next.Context().Value(visitKey{}).(*visit)
			if !ok || !v.within(next.URL) {
				return http.ErrUseLastResponse
			}
			if len(via) > maxRedirects {
				return errCircle
			}
			return nil
		},
	}
}

// dialTLS shakes hands as a visitor of the host in address does. Whether the world trusts the certificate is not the
// web server's business; that it is the site's own is.
func dialTLS(ctx context.Context, dialer *net.Dialer, to []string, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conn, err := dialFirst(ctx, dialer, to)
	if err != nil {
		return nil, err
	}
	shaken := tls.Client(conn, &tls.Config{
		ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		// Nothing secret is said that somebody could record: without ML-KEM a handshake costs both sides less.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		VerifyConnection: func(cs tls.ConnectionState) error {
			v, ok := ctx.Value(visitKey{}).(*visit)
			if ok && v.certificate != nil && !bytes.Equal(cs.PeerCertificates[0].Raw, v.certificate) {
				return errCertificate
			}
			return nil
		},
	})
	if err := shaken.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error counts
		return nil, err
	}
	return shaken, nil
}

// dialFirst connects to the first of the addresses that can be connected to.
func dialFirst(ctx context.Context, dialer *net.Dialer, to []string) (conn net.Conn, err error) {
	for _, address := range to {
		var failed error
		if conn, failed = dialer.DialContext(ctx, "tcp", address); failed == nil {
			return conn, nil
		}
		if err == nil {
			err = failed
		}
	}
	return nil, err
}

// reach returns at which addresses this machine reaches a listener: one on all addresses at those of the loopback, of
// which a machine may lack one.
func reach(a net.Addr) []string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return []string{a.String()}
	}
	if tcp.IP == nil || tcp.IP.IsUnspecified() {
		port := strconv.Itoa(tcp.Port)
		return []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
	}
	return []string{tcp.String()}
}
