// Package secret is the keyring: it seals and opens the secrets of the state, names the key that does, and derives
// other keys from it. It also has the two formats that stand inside the state's secrets and their names: the packed
// pair of a private key and its certificates, and the name of a pair by the names that it is for. Start at
// [NewKeyring].
//
// The package does no input or output and knows nothing of the state or of certificates.
package secret
