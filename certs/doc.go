// Package certs makes X.509 certificates ([SelfSigned], [LoadOrCreate]), shows what is in them ([Inspect]), says all
// that is wrong with a pair ([Judge]), and has the leader's duty that keeps a self-signed pair in the state for every
// site that needs one ([Duty]). [PairFor] tells which of the state's pairs serves a site.
//
// It serves nothing and decides nothing for a web server. Issuing by authorities (ACME, Key Vault) is not here yet:
// their sites get self-signed pairs, with a note that says so.
package certs
