package builtin

import "crypto/tls"

// tlsConfig is for TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only, as in Mozilla's
// "intermediate" recommendation without its finite-field suites. The suites of TLS 1.3 and the order are Go's.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		// A response is written as a whole: one record of up to 16 KiB is one system call, where small records
		// at the beginning of a connection would be ten.
		DynamicRecordSizingDisabled: true,
		GetCertificate:              s.certificate,
	}
}

// certificate answers nil, nil for a name without one: crypto/tls then sends the alert unrecognized_name.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if site := s.site(hello.Context(), hostName(hello.ServerName)); site != nil {
		return &site.pair.certificate, nil
	}
	if s.opt.NodeCertificate != nil {
		return s.opt.NodeCertificate(), nil
	}
	return nil, nil
}
