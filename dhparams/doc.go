// Package dhparams reads, checks and writes parameters for Diffie-Hellman key exchange: a prime and a generator, in
// the PEM block "DH PARAMETERS" of PKCS #3. [Parse] reads and [Params.Check] judges what people bring; [Builtin] is a
// group of RFC 7919, for as long as a cluster has none of its own. Making new ones belongs here too.
//
// It does not exchange keys. Go's own TLS has no use for such parameters; nginx does, with RSA certificates.
package dhparams
