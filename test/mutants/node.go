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
}
