// Package etcdtest runs real etcd servers as child processes for tests: [Start] makes a cluster, its [Member]s can be
// killed, frozen, restarted, wiped, and put back to an older copy of their data. The server is built once from the
// module in test/etcd, so that nothing needs to be installed; the environment variable STATIKO_TEST_ETCD names
// another binary instead.
package etcdtest
