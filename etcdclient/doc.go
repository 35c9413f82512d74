// Package etcdclient is a process's one connection to etcd: [Open] makes it without touching the network, [Probe]
// says endpoint by endpoint what is wrong. It knows what bites on etcd connections (files of certificates that
// change, tokens that expire, endpoints that hang) and nothing of what is kept there.
package etcdclient
