// Package chaos runs a cluster under clients and breaks it on purpose. [Scene.Random] is the whole of it: rounds in which
// clients add, change, remove and restore sites, and upload and deploy bundles, through random nodes while faults come and
// go ([Faults], [NginxFaults], [DiskFaults]), and after each round the judgement: the history is that of a single copy, no
// node's view went backwards or lacked what was acknowledged, every node, etcd's keys, the bundles and what is served over
// HTTPS agree. A seed decides which faults come, in which order, on whom.
//
// "make chaos" runs its tests: that, and scenarios of their own. They take minutes, and are skipped unless STATIKO_CHAOS=1.
package chaos
