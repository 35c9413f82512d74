package main

// mutant is one deliberate bug, and the narrowest test that must find it.
type mutant struct {
	name  string
	edits []edit
	pkg   string
	run   string
	env   []string
}

// chaos has the scenarios of test/chaos run; the seed makes the clients' choices the same each time.
var chaos = []string{"STATIKO_CHAOS=1", "CHAOS_SEED=1"}

var mutants = []mutant{
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
		pkg: "etcdstore", run: "TestStore_KeepsTheContractOnABrokenServer",
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
		pkg: "test/chaos", run: "TestChaos_OperatorsRestoreAtOnce", env: chaos,
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
		name:  "a campaign is not bound to its session",
		edits: []edit{{"leader/campaign.go", `	running, cancel := context.WithCancelCause(ctx)`, `	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))`}},
		pkg:   "leader", run: "TestElection_LeaseRevokedWhileWaitingIsInTheQueueAgain",
	},
	{
		name: "an election is not confirmed",
		edits: []edit{{"leader/campaign.go", `	if err := t.confirm(running); err != nil {
		if !errors.Is(err, errPhantom) {
			t.resign()
		}
		return nil, err
	}`, `	_ = t.confirm`}},
		pkg: "leader", run: "TestStepDown_TwoAtOnce",
	},
	{
		name:  "a term does not end by the local clock",
		edits: []edit{{"etcdclient/session.go", `	if !s.over && !time.Now().Before(s.deadline) {`, `	if false {`}},
		pkg:   "etcdclient", run: "TestSession_EndsBeforeItsLeaseCanWhenEtcdFreezes",
	},
	{
		name: "a late keepalive revives a session",
		edits: []edit{{"etcdclient/session.go", `	if s.overLocked() {
		return false
	}
	s.deadline`, `	s.over = false
	s.deadline`}},
		pkg: "etcdclient", run: "TestSession_LateAnswerDoesNotReviveIt",
	},
	{
		name:  "a leader that cannot lead any more goes on",
		edits: []edit{{"leader/etcdterm.go", `			case v.unfit:`, `			case v.unfit && !v.loaded:`}},
		pkg:   "leader", run: "TestElection_WhoCannotLeadDoesNot",
	},
	{
		name:  "a terminated leader does not resign",
		edits: []edit{{"leader/etcdterm.go", `	if err := t.election.Resign(ctx); err != nil {`, `	if err := ctx.Err(); err != nil {`}},
		pkg:   "leader", run: "TestElection_SlowDutyHoldsUpTheNextLeaderForAMomentOnly",
	},
	{
		name:  "calls between nodes are believed unproved",
		edits: []edit{{"cluster/sign.go", `return hmac.Equal(got, mac(key, r, body, text))`, `return len(got) == len(mac(key, r, body, text))`}},
		pkg:   "cluster", run: "TestVerify_RefusesWhatIsForged",
	},
	{
		name:  "a served certificate that a restore took away is held on to",
		edits: []edit{{"reconcile/plan.go", `	if served && v.Snapshot.RevisionOf(state.Key{Kind: state.KindSecret, Name: have.Pair}) != 0 {`, `	if served {`}},
		pkg:   "reconcile", run: "TestPass_RestoreTakesTheServedCertificateAway",
	},
	{
		name:  "a refused site is not looked at when another gives a name up",
		edits: []edit{{"reconcile/apply.go", `	maps.Copy(r.dirty, r.refusedSites)`, `	_ = maps.Copy[map[string]bool, map[string]bool]`}},
		pkg:   "reconcile", run: "TestPass_RestoreTakesTheServedCertificateAway",
	},
	{
		name:  "a site is not there while the node starts",
		edits: []edit{{"webserver/builtin/begin.go", `found != nil || s.complete()`, `found != nil || ctx != nil`}},
		pkg:   "webserver/builtin", run: "TestBegin_VisitorsWaitForSites",
	},
	{
		name:  "a node takes its local copy for all sites",
		edits: []edit{{"node/begin.go", `	for !n.store.Health().Healthy ||`, `	for false && !n.store.Health().Healthy ||`}, {"node/begin.go", `n.reconciler.Status().Revision < n.store.Snapshot().Revision() {`, `n.reconciler.Status().Revision < 0 {`}},
		pkg:   "test", run: "TestStart_NoSiteIsMissingForAMoment",
	},
	{
		name:  "a dead restore is left lying",
		edits: []edit{{"etcdstore/sweep.go", `			if left {`, `			if left && next < 0 {`}},
		pkg:   "etcdstore", run: "TestSweepDuty_ComesBackForARestoreWhoseWriterIsGone",
	},
}
