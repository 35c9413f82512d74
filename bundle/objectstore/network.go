package objectstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// NetworkFault words a fault that did not come as a server's answer, and says which key to look at: endpoint is the
// key that says where the server is, plain what to do if it speaks no TLS. It returns nil for other errors.
func NetworkFault(err error, endpoint, plain string) error {
	if err == nil || IsDisk(err) {
		return nil
	}
	var dns *net.DNSError
	var operation *net.OpError
	switch {
	case isPlain(err):
		return fault{"the server does not speak TLS: " + plain, err}
	case isTLS(err):
		return fault{"the server's certificate is not accepted: correct " + endpoint +
			", or add the authority that signed it to the machine's list", err}
	case errors.As(err, &dns):
		return fault{"the server's name is not known: correct " + endpoint + " or the name service", err}
	case errors.Is(err, ErrStalled), errors.As(err, &operation), isURL(err):
		return fault{"the server cannot be reached: see whether it runs, and " + endpoint, err}
	}
	return nil
}

// fault is an error with words before it.
type fault struct {
	words string
	err   error
}

func (f fault) Error() string { return f.words + ": " + cause(f.err) }
func (f fault) Unwrap() error { return f.err }

// cause leaves out the request's address, which says no more than the key.
func cause(err error) string {
	u, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err.Error()
	}
	if g, ok := errors.AsType[*gaveUp](err); ok {
		return u.Err.Error() + g.words()
	}
	return u.Err.Error()
}

func isURL(err error) bool {
	_, ok := errors.AsType[*url.Error](err)
	return ok
}

// isPlain tells whether a client of TLS met a server without.
func isPlain(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return record || errors.Is(err, http.ErrSchemeMismatch) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

func isTLS(err error) bool {
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	return verify || alert || authority || isPlain(err)
}

// IsDisk tells whether it is this machine's file that could not be read.
func IsDisk(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

// NewTransport returns a transport for requests to one server, which the repository's owner closes by
// CloseIdleConnections. roots are the authorities that are trusted; nil means the machine's list.
func NewTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		// Bundles are packed already, and a transport that unpacks would break lengths and ranges.
		DisableCompression:  true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}
}
