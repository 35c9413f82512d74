package etcdclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"google.golang.org/grpc/status"
)

// tlsConfig reads the files once to find faults, and again for each connection.
func (o Options) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case o.SkipVerify:
		config.InsecureSkipVerify = true // asked for by the configuration
	case o.CA != "":
		if _, err := readPool(o.CA); err != nil {
			return nil, err
		}
		// The standard check has its authorities fixed for the client's life. So it is made here, with the
		// file as it is now.
		config.InsecureSkipVerify = true // VerifyConnection verifies
		config.VerifyConnection = func(s tls.ConnectionState) error { return verify(o.CA, s) }
	}
	if (o.ClientCertificate == "") != (o.ClientKey == "") {
		return nil, errors.New("the client certificate for etcd needs both its files, certificate and key")
	}
	if o.ClientCertificate != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.ClientCertificate, o.ClientKey)
			if err != nil {
				return nil, fmt.Errorf("the client certificate for etcd: %w", err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return config, nil
}

func readPool(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the certificate authority of etcd: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("the certificate authority of etcd: %s has no certificate in PEM", path)
	}
	return pool, nil
}

// verify does what crypto/tls does by itself without InsecureSkipVerify.
func verify(ca string, s tls.ConnectionState) error {
	pool, err := readPool(ca)
	if err != nil {
		return err
	}
	if len(s.PeerCertificates) == 0 {
		return errors.New("etcd shows no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: s.ServerName})
	return err
}

// explain finds the cause of a failed request: gRPC says no more than that the connection failed, so one is tried
// by hand.
func (o Options) explain(ctx context.Context, endpoint string, err error) error {
	u, parseErr := url.Parse(endpoint)
	if parseErr != nil {
		return Plain(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepAliveTimeout)
	defer cancel()
	conn, dialErr := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if dialErr != nil {
		return dialErr
	}
	defer conn.Close()
	if u.Scheme != "https" {
		return Plain(err)
	}
	config, tlsErr := o.tlsConfig()
	if tlsErr != nil {
		return tlsErr
	}
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	client := tls.Client(conn, config)
	if hsErr := client.HandshakeContext(ctx); hsErr != nil {
		return hsErr
	}
	// With TLS 1.3, a server says that it refuses the client's certificate after the handshake.
	deadline, _ := ctx.Deadline()
	_ = client.SetReadDeadline(deadline)
	if _, readErr := client.Read(make([]byte, 1)); readErr != nil && strings.Contains(readErr.Error(), "tls:") {
		return readErr
	}
	return Plain(err)
}

// Plain takes gRPC's words off an error of etcd, for people.
func Plain(err error) error {
	if s, ok := status.FromError(err); ok && s.Message() != "" {
		return &plainError{s.Message(), err}
	}
	return err
}

type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }
