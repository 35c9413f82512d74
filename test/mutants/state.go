package main

// stateMutants are bugs in how the state is changed, kept and followed.
var stateMutants = []mutant{
	{
		name: "the fence is left out of commits",
		edits: []edit{{"etcdstore/commit.go", `c.compares = append(c.compares, clientv3.Compare(clientv3.CreateRevision(key), "=", revision))`,
			`_ = revision`}},
		pkg: "etcdstore", run: "TestCommit_AFenceThatOnlyEtcdKnowsToBeOver",
	},
	{
		name:  "revisions are not compared in commits",
		edits: []edit{{"etcdstore/commit.go", `for _, cmp := range c.txn.Compares {`, `for _, cmp := range c.txn.Compares[:0] {`}},
		pkg:   "etcdstore", run: "TestStore_HistoryOfTwoNodesIsLinearizable",
	},
	{
		name: "absences are not compared in commits",
		edits: []edit{{"etcdstore/commit.go", `		} else {
			c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(key), "=", c.head.lower(cmp.Revision)))`,
			`		} else if cmp.Revision != 0 {
			c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(key), "=", c.head.lower(cmp.Revision)))`}},
		pkg: "etcdstore", run: "TestW2_OneNameBelongsToOneSite",
	},
	{
		name: "the head is not compared in commits",
		edits: []edit{{"etcdstore/commit.go", `c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(k.head()), "=", c.head.revision),
		clientv3.Compare`, `c.compares = append(c.compares,
		clientv3.Compare`}},
		pkg: "test/chaos", run: "TestChaos_OperatorsRestoreAtOnce", env: chaos,
	},
	{
		name: "a cut-off attempt may be made late",
		edits: []edit{{"etcdstore/commit.go", `clientv3.Compare(clientv3.ModRevision(k.cut(node)), "=", now.cut))`,
			`clientv3.Compare(clientv3.ModRevision(k.cut(node)), ">", -1))`}},
		pkg: "etcdstore", run: "TestCommit_ALateAttemptOfARefusedUpdateIsNotMade",
	},
	{
		name: "a change may be made again by an earlier attempt",
		edits: []edit{{"etcdstore/commit.go", `then, otherwise = append(slices.Clip(then), cut), append(slices.Clip(otherwise), cut)`,
			`otherwise = append(slices.Clip(otherwise), cut)`}},
		pkg: "etcdstore", run: "TestCommit_OfManyAttemptsOneIsMade",
	},
	{
		name: "a change may be made again by a later attempt",
		edits: []edit{{"etcdstore/commit.go", `clientv3.Compare(clientv3.ModRevision(k.op(node)), "<", c.reached+1))`,
			`clientv3.Compare(clientv3.ModRevision(k.op(node)), ">", -1))`}},
		pkg: "etcdstore", run: "TestCommit_OfManyAttemptsOneIsMade",
	},
	{
		name:  "a change cut off is taken for not made",
		edits: []edit{{"etcdstore/commit.go", `			c.uncertain = true`, `			c.uncertain = false`}},
		pkg:   "etcdstore", run: "TestCommit_OutcomesOfUpdatesCutOffByAFrozenServerAreTrue",
	},
	{
		name: "a change that was made is not waited for",
		edits: []edit{{"etcdstore/commit.go", `		s.awaitVisible(ctx, revision)
		return revision, nil
	}
	if revision, made`, `		return revision, nil
	}
	if revision, made`}},
		pkg: "etcdstore", run: "TestStore_KeepsTheContract$",
	},
	{
		name: "a watch is resumed at the compact revision",
		edits: []edit{{"etcdstore/follow.go", `			if err := r.Err(); err != nil {
				return err
			}`, `			if r.CompactRevision != 0 {
				s.mu.Lock()
				s.now.reached = r.CompactRevision - 1
				s.mu.Unlock()
				events = s.openWatch(ctx, etcd)
				continue
			}
			if err := r.Err(); err != nil {
				return err
			}`}, {"etcdstore/attach.go", `	if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev) {
		return false, nil`, `	if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev) {
		return true, nil`}},
		pkg: "etcdstore", run: "TestW22_CompactionUnderALiveWatch",
	},
	{
		name: "events of another generation are applied",
		edits: []edit{{"etcdstore/follow.go", `k, ok := s.keys.parse(now.head.Generation, key)`, `k, ok := s.keys.parse(anyGeneration(s.keys, key, now.head.Generation), key)`},
			{"etcdstore/follow.go", `// event applies one event to the replica.`, `func anyGeneration(k keys, key string, or int64) int64 {
	if g, ok := k.generationOf(key); ok {
		return g
	}
	return or
}

// event applies one event to the replica.`}},
		pkg: "etcdstore", run: "TestRestore_NobodyOnAnyNodeSeesAHalf",
	},
	{
		name: "what etcd comes back with is not examined",
		edits: []edit{{"etcdstore/attach.go", `	case len(r.Kvs) != 1 || r.Kvs[0].ModRevision != seen.Revision || string(r.Kvs[0].Value) != seen.Value:`,
			`	case len(r.Kvs) > 1:`}},
		pkg: "etcdstore", run: "TestDetached",
	},
	{
		name: "an older node restores the state of a newer version",
		edits: []edit{
			{"etcdstore/restore.go", `if err := head.changeable(); err != nil {`, `if err := head.changeable(); err != nil && version == 0 {`},
		},
		pkg: "etcdstore", run: "TestJoin_ANewerVersionOfTheStateIsNotTouched",
	},
	{
		name: "an older node accepts the state of a newer version",
		edits: []edit{
			{"etcdstore/accept.go", `if err := head.changeable(); err != nil {`, `if err := head.changeable(); err != nil && version == 0 {`},
		},
		pkg: "etcdstore", run: "TestDetached_ANewerVersionIsNotAccepted",
	},
	{
		name: "a restore does not look at the version that came meanwhile",
		edits: []edit{
			{"etcdstore/restore.go", `if err := now.changeable(); err != nil {`, `if err := now.changeable(); err != nil && version == 0 {`},
		},
		pkg: "etcdstore", run: "TestRestore_ANewerVersionThatCameMeanwhileIsNotTouched",
	},
	{
		name:  "a node that knows no state yet may lead",
		edits: []edit{{"etcdstore/head.go", `	if now.head.ID == "" {`, `	if version == 0 {`}},
		pkg:   "etcdstore", run: "TestChangeable_OnlyWhatIsKnownAndOfThisVersion",
	},
	{
		name: "a restore is written in place, without the flip",
		edits: []edit{
			{"etcdstore/restore.go", `add(r.store.keys.object(r.gen, o.Key()), string(data))`, `add(r.store.keys.object(r.head.Generation, o.Key()), string(data))`},
			{"etcdstore/restore.go", `add(r.store.keys.object(r.gen, state.Key{`, `add(r.store.keys.object(r.head.Generation, state.Key{`},
			{"etcdstore/restore.go", `next.Generation = r.gen`, `next.Generation = r.head.Generation`},
		},
		pkg: "etcdstore", run: "TestRestore_NobodyOnAnyNodeSeesAHalf",
	},
	{
		name:  "no copy is kept of what is followed",
		edits: []edit{{"etcdstore/copy.go", `if s.followed.Load() {`, `if s.followed.Load() && saved < 0 {`}},
		pkg:   "etcdstore", run: "TestCopy_BootsAndServesWithoutEtcd",
	},
	{
		name: "refusals are not validated",
		edits: []edit{{"state/update.go", `			d.writes = nil
		}`, `			return 0, refusal
		}`}},
		pkg: "filestore", run: "TestStore_KeepsTheContract",
	},
	{
		name:  "the index of names is not written",
		edits: []edit{{"state/draft.go", `d.write(Key{KindName, name}, &nameEntry{name, site.Domain})`, `d.reads[Key{KindName, name}] = 0`}},
		pkg:   "etcdstore", run: "TestW2_OneNameBelongsToOneSite",
	},
	{
		name: "a name given up stays in the index",
		edits: []edit{{"state/draft.go", `			if !keep[name] {
				d.delete(Key{KindName, name})
			}`, `			if !keep[name] {
				continue
			}`}},
		pkg: "filestore", run: "TestStore_KeepsTheContract",
	},
	{
		name:  "guards are left out",
		edits: []edit{{"state/draft.go", `func (d *Draft) touch(k Key) { g := k.guard(); d.writes[g] = &guardEntry{g.Name} }`, `func (d *Draft) touch(Key) {}`}},
		pkg:   "etcdstore", run: "TestGuards_UseAndRemovalOnTwoNodes",
	},
	{
		name:  "the journal is not fsynced",
		edits: []edit{{"filestore/disk.go", `		if err = d.journal.Sync(); err == nil {`, `		if err == nil {`}},
		pkg:   "filestore", run: "TestCrash_AnywhereKeepsWhatWasAcknowledged",
	},
	{
		name: "a new journal may be gone after a crash",
		edits: []edit{{"filestore/disk.go", `	if err := d.fs.SyncDir(d.folder); err != nil {
		// A crash`, `	if err := error(nil); err != nil {
		// A crash`}},
		pkg: "filestore", run: "TestCrash_AnywhereKeepsWhatWasAcknowledged",
	},
	{
		name: "a failed fsync is forgotten",
		edits: []edit{{"filestore/disk.go", `	if synced {
		// After`, `	if false {
		// After`}},
		pkg: "filestore", run: "TestFaults_AfterAFailedSyncEverythingIsWrittenAnew",
	},
	{
		name:  "a dead restore is left lying",
		edits: []edit{{"etcdstore/sweep.go", `next = sweepEvery; left {`, `next = sweepEvery; left && next < 0 {`}},
		pkg:   "etcdstore", run: "TestSweepDuty_ComesBackForARestoreWhoseWriterIsGone",
	},
	{
		name:  "what a restore replaced is left lying if etcd took no changes then",
		edits: []edit{{"etcdstore/sweep.go", `Head().Generation, sweepSoon`, `Head().Generation, sweepEvery`}},
		pkg:   "etcdstore", run: "TestSweepDuty_ComesBackWhenEtcdTakesChangesAgain",
	},
	{
		name: "a client takes a change whose answer is cut off for not made",
		edits: []edit{{"api/client_do.go", `	changes := method != http.MethodGet && method != http.MethodHead
	return &TransportError{Address: c.base.Host, Unknown: changes, Err:`, `	return &TransportError{Address: c.base.Host, Err:`}},
		pkg: "api", run: "TestClient_AnswerCutOffIsOfUnknownOutcome",
	},
}
