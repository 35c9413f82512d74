// Package cluster runs whole clusters for tests: real etcd servers (package etcdtest) and real processes of the built node.
// [Start] starts one in a test, [Launch] outside of one; [Node]s can be killed, terminated, frozen, started again and cut
// off from etcd ([Links]), their disks filled ([MountDisk]), and asked for pages as a browser would ([Visitor]). [Poll] waits
// for a condition and prints the last reason when it gives up. If the test fails, a folder keeps all logs and the state of
// every node; see [Cluster.Evidence].
//
// What clients did, and whether it makes sense, is the matter of package history.
package cluster
