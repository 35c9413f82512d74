package main

// nodeMutants are bugs in what nodes make of the state: leaders and their duties, bundles, and the sites that are served.
var nodeMutants = []mutant{
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
		name:  "a leader misses a site that is added as its duty begins",
		edits: []edit{{"certs/duty.go", `closed <- d.watch(ctx, from.Revision(), looks)`, `closed <- d.watch(ctx, d.o.Store.Snapshot().Revision(), looks)`}},
		pkg:   "certs", run: "TestDuty_NothingIsMissedAsItBegins",
	},
	{
		name: "a leader misses a notice that is recorded as its duty begins",
		edits: []edit{{"notify/duty.go", `	from := d.o.Store.Snapshot() // before the first look, so that nothing comes between them
	wg.Go(func() { closed <- d.watch(watching, from, looks) })

	r.look()
`, `	r.look()
	from := d.o.Store.Snapshot()
	wg.Go(func() { closed <- d.watch(watching, from, looks) })
`}},
		pkg: "notify", run: "TestDuty_NothingIsMissedAsItBegins",
	},
	{
		name: "a bundle that is lost before its upload is acknowledged is not stored again",
		edits: []edit{{"bundle/library_add.go", `	if errors.Is(err, ErrNotFound) {
		err = l.keep(ctx, app, spool, metaOf(app))
	}
	return err`, `	return err`}},
		pkg: "bundle", run: "TestAdd_TheFolderIsLostMeanwhile",
	},
	{
		name: "a bundle that was lost is not stored when it is uploaded again",
		edits: []edit{{"bundle/library_add.go", `	if _, err := l.own().Stat(ctx, old.Name); errors.Is(err, ErrNotFound) {
		if err := l.keep(ctx, old, spool, metaOf(old)); err != nil {
			return Added{}, fmt.Errorf("store the bundle %s: %w", old.Name, err)
		}
	}
`, ``}},
		pkg: "bundle", run: "TestAdd_AgainBringsBackWhatWasLost",
	},
	{
		name: "that no other node is up is taken for a fault",
		edits: []edit{{"bundle/source.go", `unobtained{fmt.Errorf("%w on this node, and no other node is up", ErrNotFound)}`,
			`fmt.Errorf("%w on this node, and no other node is up", ErrNotFound)`}},
		pkg: "bundle", run: "TestCheckDeploy_WhoHasTheArchiveIsAway",
	},
	{
		name: "that no node that is up has an archive is taken for a fault",
		edits: []edit{{"bundle/source.go", `unobtained{errors.Join(r.errs[max(0, len(r.errs)-5):]...)}`,
			`errors.Join(r.errs[max(0, len(r.errs)-5):]...)`}},
		pkg: "bundle", run: "TestCheckDeploy_WhoHasTheArchiveIsAway",
	},
	{
		name: "a bundle that could not be fetched waits for the next full pass",
		edits: []edit{{"reconcile/stager.go", `		if !j.waking {
			j.waking = true
			g.running.Go(func() { g.wake(ctx, app, j) })
		}
`, ``}},
		pkg: "reconcile", run: "TestStage_WhatFailedIsTriedAgainByItself",
	},
	{
		name: "a bundle without a site is not tried again by itself",
		edits: []edit{{"reconcile/reconcile.go", `		r.tried[app.Name] = true
`, ``}},
		pkg: "reconcile", run: "TestStage_WhatFailedIsTriedAgainByItself",
	},
	{
		name:  "nginx writes its process id to the disk",
		edits: []edit{{"webserver/nginx/managed.go", `	if err := m.s.paths.discardPID(); err != nil {`, `	if err := error(nil); err != nil {`}},
		pkg:   "webserver/nginx", run: "TestFault_KilledOnAFullDisk",
	},
	{
		name:  "a start writes nginx's configuration anew",
		edits: []edit{{"webserver/nginx/run.go", `if s.keep(); s.opt.Managed && s.kept == "" {`, `if s.opt.Managed && s.kept == "" {`}},
		pkg:   "webserver/nginx", run: "TestLeft_NothingChangedAndToldLate",
	},
	{
		name: "nginx's configuration of before is given up when its test takes too long",
		edits: []edit{{"webserver/nginx/left.go", `	if errors.As(err, &refusal) {
		s.log.Error(`, `	if errors.As(err, &refusal) || err != nil {
		s.log.Error(`}},
		pkg: "webserver/nginx", run: "TestLeft_ATestThatDoesNotEndIsNoRefusal",
	},
	{
		name: "files that an earlier process needed are removed before they are replaced",
		edits: []edit{{"webserver/nginx/files.go", `	if s.inForce != "" {
		s.trash`, `	if s.inForce != "" || s.resumed {
		s.trash`}},
		pkg: "webserver/nginx", run: "TestLeft_WithoutSpaceForWhatChangedAllIsServedAsBefore",
	},
	{
		name: "parts of nginx's configuration are left lying",
		edits: []edit{{"webserver/nginx/left.go", `		if !used[name] {
			delete`, `		if !used[name] && len(used) == 0 {
			delete`}},
		pkg: "webserver/nginx", run: "TestLeft_FilesThatNothingNeedsAreRemoved",
	},
	{
		name:  "files of nginx are taken for good by their length",
		edits: []edit{{"webserver/nginx/files.go", `return err == nil && bytes.Equal(old, content)`, `return err == nil && (len(old) == len(content) || bytes.Equal(old, content))`}},
		pkg:   "webserver/nginx", run: "TestLeft_DamageIsFoundAndWrittenAnew",
	},
	{
		name:  "an nginx is given no sites because the node knows none yet",
		edits: []edit{{"webserver/nginx/run.go", `if s.inForce == "" && !s.none(began)`, `if s.inForce == "" && time.Since(began) < time.Minute`}},
		pkg:   "webserver/nginx", run: "TestExternal_SitesStayUntilItIsKnownThatThereAreNone",
	},
	{
		name: "an nginx is believed what an earlier process of the node gave it",
		edits: []edit{{"webserver/nginx/nginx.go", `newProber(s.paths.check, opt.Managed)`, `newProber(s.paths.check, true)`},
			{"webserver/nginx/push.go", `	if s.opt.Managed {
		err = errors.Join(err, s.writeOnce(s.paths.check, check))
	}`, `	err = errors.Join(err, s.writeOnce(s.paths.check, check))`}},
		pkg: "webserver/nginx", run: "TestExternal_AReloadThatDoesNothingIsNotBelieved",
	},
}
