package azurerepo

import (
	"path"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"statiko/bundle"
	"statiko/bundle/objectstore"
	"statiko/bundle/repotest"
	"statiko/test/objecttest"
)

// quick is a policy for tests, in which servers are away on purpose.
var quick = objectstore.Policy{Patience: 10 * time.Second, Stall: 5 * time.Second, Pause: 20 * time.Millisecond, PauseMax: 200 * time.Millisecond}

// options are those of a repository on a server, in a container of its own.
func options(t testing.TB, s objecttest.Azure) Options {
	t.Helper()
	return Options{
		Account: objecttest.AzureAccount, AccessKey: objecttest.AzureAccessKey, Endpoint: s.Endpoint(),
		Container: path.Base(s.Container(t).URL()), Policy: quick, Log: zaptest.NewLogger(t),
	}
}

func open(t testing.TB, o Options) *Repository {
	t.Helper()
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// The server takes longer to start than most tests, so all have the same.
func TestRepository(t *testing.T) {
	s := objecttest.StartAzure(t, objecttest.Pair{})
	for name, run := range map[string]func(*testing.T, objecttest.Azure){
		"NoBytesCountAsMissing": createNoBytesCountAsMissing, "SetMetaKeepsWhatItDoesNotKnow": setMetaKeepsWhatItDoesNotKnow,
		"RemoveWithSnapshots": removeWithSnapshots, "LostAnswers": lostAnswers, "FaultsNameTheKey": faultsNameTheKey,
		"Remote": remote, "Streams": streams,
	} {
		t.Run(name, func(t *testing.T) { run(t, s) })
	}
	repotest.Run(t, func(t *testing.T) bundle.Repository { return open(t, options(t, s)) })
}
