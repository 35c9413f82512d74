package migrate

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"statiko/filestore"
	"statiko/state"
	"statiko/test/etcdtest"
)

func asRefusal(err error, r **Refusal) bool { return errors.As(err, r) }

func TestMigrate(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{})
	for name, test := range map[string]func(*testing.T, *etcdtest.Cluster){
		"FileToEtcdAndBack": fileToEtcdAndBack, "EmptyState": emptyState,
		"DryRunChangesNothing": dryRunChangesNothing, "OtherKeyIsRefused": otherKeyIsRefused,
		"OldKeyIsEnough": oldKeyIsEnough, "TargetInUse": targetInUse, "TargetWithState": targetWithState,
		"SourceInEtcdIsChangedMeanwhile": sourceIsChangedMeanwhile, "TargetIsChangedMeanwhile": targetIsChangedMeanwhile,
		"SamePlace": samePlace, "EarlierProgram": earlierProgram, "CrashAtEachStep": crashAtEachStep,
		"MovedFileWasChanged": movedFileWasChanged, "EtcdLostItAfterwards": etcdLostItAfterwards,
		"NodesThatAreUpAreNamed": nodesAreNamed, "NoEtcdThere": noEtcdThere, "RunningNode": runningNode,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

func fileToEtcdAndBack(t *testing.T, c *etcdtest.Cluster) {
	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	put(t, file, full(t, file.Keyring)...)
	before := document(t, file)
	there := Options{From: file, To: etcd}

	r := migrated(t, there, ResultMigrated)
	if r.Objects["sites"] != 2 || r.Objects["secrets"] != 2 || r.Objects["apps"] != 1 || r.Added["sites"] != 2 || r.Frozen || r.KeyID != file.Keyring.ID() {
		t.Errorf("report %+v", r)
	}
	if got := document(t, etcd); got != before {
		t.Errorf("etcd has\n%s\nand the file had\n%s", got, before)
	}
	_, err := filestore.Open(filestore.Options{Path: file.File, KeyID: file.Keyring.ID()})
	if moved, ok := errors.AsType[*filestore.MovedError](err); !ok || moved.Changed || moved.Target != etcd.String() {
		t.Fatalf("the file that was moved: %v", err)
	}

	// Again: nothing to do, also when the target has gone on.
	marked := files(t, filepath.Dir(file.File))
	migrated(t, there, ResultAlready)
	put(t, etcd, site("new.example.org"))
	if r := migrated(t, there, ResultAlready); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "changed since") {
		t.Errorf("warnings %q", r.Warnings)
	}
	if now := files(t, filepath.Dir(file.File)); !maps.Equal(now, marked) {
		t.Errorf("the second run changed files: %v", slices.Sorted(maps.Keys(now)))
	}

	// Back, over the older version of the same state, which needs no permission.
	now := document(t, etcd)
	r = migrated(t, Options{From: etcd, To: file}, ResultMigrated)
	if r.Kept == "" || r.Added["sites"] != 1 {
		t.Errorf("report %+v", r)
	}
	if got := document(t, file); got != now {
		t.Errorf("the file has\n%s\nand etcd had\n%s", got, now)
	}
	migrated(t, Options{From: etcd, To: file}, ResultAlready)

	// And there again: etcd has an older version, of which nobody said that it may go.
	put(t, file, site("newest.example.org"))
	refused(t, there, "the target has a state already: 3 sites and 1 imported certificate", "--replace")
	there.Replace = true
	now = document(t, file)
	migrated(t, there, ResultMigrated)
	if got := document(t, etcd); got != now {
		t.Errorf("etcd has\n%s\nand the file had\n%s", got, now)
	}
}

func emptyState(t *testing.T, c *etcdtest.Cluster) {
	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	refused(t, Options{From: file, To: etcd}, "there is no state in the file "+file.File)
	refused(t, Options{From: etcd, To: file}, "there is no state in etcd")
	put(t, file) // begins one
	migrated(t, Options{From: file, To: etcd}, ResultMigrated)
	if got := document(t, etcd); !strings.Contains(got, `"sites": []`) {
		t.Errorf("etcd has %s", got)
	}
}

func dryRunChangesNothing(t *testing.T, c *etcdtest.Cluster) {
	file, etcd, other := filePlace(t), etcdPlaceOn(t, c), filePlace(t)
	put(t, file, full(t, file.Keyring)...)
	put(t, other, site("other.example.org"))
	before, beforeOther := files(t, filepath.Dir(file.File)), files(t, filepath.Dir(other.File))
	r := migrated(t, Options{From: file, To: etcd, DryRun: true}, ResultWould)
	if r.Added["sites"] != 2 || r.Added["secrets"] != 2 || len(r.Removed) != 0 {
		t.Errorf("report %+v", r)
	}
	refused(t, Options{From: file, To: other, DryRun: true}, "1 site in the file")
	r = migrated(t, Options{From: file, To: other, DryRun: true, Replace: true}, ResultWould)
	if r.Added["sites"] != 2 || r.Removed["sites"] != 1 || len(r.RemovedSites) != 1 || r.RemovedSites[0] != "other.example.org" {
		t.Errorf("report %+v", r)
	}
	fresh := filePlace(t)
	migrated(t, Options{From: file, To: fresh, DryRun: true}, ResultWould)
	if left := files(t, filepath.Dir(fresh.File)); len(left) != 0 {
		t.Errorf("a dry run wrote %v", left)
	}
	if !maps.Equal(files(t, filepath.Dir(file.File)), before) || !maps.Equal(files(t, filepath.Dir(other.File)), beforeOther) {
		t.Error("a dry run changed files")
	}
	get, err := c.Client(t).Get(t.Context(), etcd.Etcd.Prefix+"/v1/head")
	if err != nil || len(get.Kvs) != 0 {
		t.Errorf("a dry run began a state in etcd: %v, %v", get, err)
	}
}

func otherKeyIsRefused(t *testing.T, c *etcdtest.Cluster) {
	file := filePlace(t)
	put(t, file, full(t, file.Keyring)...)
	for _, to := range []Place{etcdPlaceOn(t, c, keyB), filePlace(t, keyB)} {
		refused(t, Options{From: file, To: to, Replace: true}, file.Keyring.ID(), to.Keyring.ID(), "secretsEncryptionOldKeys")
		if to.File != "" && len(files(t, filepath.Dir(to.File))) != 0 {
			t.Error("the target was written to")
		}
	}
	document(t, file) // is in force
	// One secret of an older key, which only the source knows.
	two, etcd := filePlace(t, keyA, keyB), etcdPlaceOn(t, c, keyA)
	sealed, err := ring(t, keyB).Seal([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, two, &state.Secret{Name: "cert/imported/old", Sealed: sealed})
	refused(t, Options{From: two, To: etcd}, "1 secret cannot be opened", "cert/imported/old")
	// And one that nobody can open is no reason to stay.
	broken := filePlace(t)
	put(t, broken, &state.Secret{Name: "cert/imported/broken", Sealed: []byte("nonsense")})
	if r := migrated(t, Options{From: broken, To: etcd}, ResultMigrated); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "cert/imported/broken") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func oldKeyIsEnough(t *testing.T, c *etcdtest.Cluster) {
	for _, to := range []Place{etcdPlaceOn(t, c, keyB, keyA), filePlace(t, keyB, keyA)} {
		file := filePlace(t)
		put(t, file, full(t, file.Keyring)...)
		before := store(t, file)
		want, err := text(before.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		before.Close()
		migrated(t, Options{From: file, To: to}, ResultMigrated)
		if got, err := text(store(t, to).Snapshot()); err != nil || string(got) != string(want) {
			t.Errorf("%s has %s, %v", to, got, err)
		}
	}
}

func targetInUse(t *testing.T, c *etcdtest.Cluster) {
	etcd, file := etcdPlaceOn(t, c), filePlace(t)
	put(t, etcd, site("a.example.org"))
	s := store(t, file)
	refused(t, Options{From: etcd, To: file}, "the target is in use", "stop the node")
	s.Close()
	migrated(t, Options{From: etcd, To: file}, ResultMigrated)
}

func targetWithState(t *testing.T, c *etcdtest.Cluster) {
	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	put(t, file, site("a.example.org"))
	sealed, err := etcd.Keyring.Seal([]byte("pair"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, etcd, &state.Secret{Name: "cert/imported/only", Sealed: sealed}, &state.Secret{Name: "cert/selfsigned/x", Sealed: sealed})
	refused(t, Options{From: file, To: etcd}, "1 imported certificate", "--replace", "--dry-run")
	asked := 0
	no := errors.New("no")
	o := Options{From: file, To: etcd, Replace: true, Confirm: func(r *Report) error {
		if asked++; r.Removed["secrets"] != 2 {
			t.Errorf("asked about %+v", r)
		}
		return no
	}}
	before := document(t, etcd)
	if _, err := Run(t.Context(), o); !errors.Is(err, no) || asked != 1 || document(t, etcd) != before {
		t.Errorf("asked %d times: %v", asked, err)
	}
	document(t, file) // is in force
	o.Confirm = nil
	migrated(t, o, ResultMigrated)

	// What a node has made for itself on an empty etcd is no reason to ask.
	fresh, other := etcdPlaceOn(t, c), filePlace(t)
	put(t, fresh, &state.Secret{Name: "cert/selfsigned/x", Sealed: sealed}, &state.DHParams{PEM: "x"})
	put(t, other, site("a.example.org"))
	migrated(t, Options{From: other, To: fresh}, ResultMigrated)
	if got := document(t, fresh); strings.Contains(got, "selfsigned/x") {
		t.Errorf("it is still there: %s", got)
	}
}

func sourceIsChangedMeanwhile(t *testing.T, c *etcdtest.Cluster) {
	etcd, file := etcdPlaceOn(t, c), filePlace(t)
	put(t, etcd, site("a.example.org"))
	s := store(t, etcd)
	changes, most := 0, 2
	o := Options{From: etcd, To: file, after: func(step string) {
		if step == "compared" && changes < most {
			changes++
			putInto(t, s, site(strings.Repeat("n", changes)+".example.org"))
		}
	}}
	migrated(t, o, ResultMigrated)
	if got := document(t, file); !strings.Contains(got, `"n.example.org"`) || !strings.Contains(got, `"nn.example.org"`) {
		t.Errorf("the file has %s", got)
	}
	// One that never rests.
	most = 1000
	other := filePlace(t)
	o.To = other
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "stop the nodes") {
		t.Errorf("a source that is always changed: %v", err)
	}
}

func targetIsChangedMeanwhile(t *testing.T, c *etcdtest.Cluster) {
	etcd, file := etcdPlaceOn(t, c), filePlace(t)
	put(t, file, site("a.example.org"))
	put(t, etcd, site("b.example.org"))
	s := store(t, etcd)
	o := Options{From: file, To: etcd, Replace: true, Confirm: func(*Report) error {
		putInto(t, s, site("c.example.org"))
		return nil
	}}
	refused(t, o, "the target was changed", "run this again")
	if got := document(t, etcd); !strings.Contains(got, "c.example.org") {
		t.Errorf("etcd has %s", got)
	}
	document(t, file) // is in force
}

func samePlace(t *testing.T, c *etcdtest.Cluster) {
	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	put(t, file, site("a.example.org"))
	put(t, etcd, site("a.example.org"))
	link := file
	link.File = filepath.Join(t.TempDir(), "link.json")
	symlink(t, file.File, link.File)
	refused(t, Options{From: file, To: file}, "same")
	refused(t, Options{From: file, To: link}, "same")
	same := etcd
	same.Etcd.Client.Endpoints = []string{strings.Replace(c.Endpoints()[0], "127.0.0.1", "localhost", 1)}
	refused(t, Options{From: etcd, To: same, Replace: true}, "same")
}

func movedFileWasChanged(t *testing.T, c *etcdtest.Cluster) {
	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	put(t, file, site("a.example.org"))
	migrated(t, Options{From: file, To: etcd}, ResultMigrated)
	writeFile(t, file.File, `{"sites":[{"domain":"by-hand.example.org"}]}`)
	refused(t, Options{From: file, To: etcd}, "the file was changed since", "--replace")
	refused(t, Options{From: file, To: filePlace(t)}, "was moved to "+etcd.String())
	// It is no older version of what is in etcd, so it is not replaced without being asked.
	refused(t, Options{From: etcd, To: file}, "1 site in the file", "--replace")
	migrated(t, Options{From: file, To: etcd, Replace: true}, ResultMigrated)
	if got := document(t, etcd); !strings.Contains(got, "by-hand") {
		t.Errorf("etcd has %s", got)
	}
}

func etcdLostItAfterwards(t *testing.T, c *etcdtest.Cluster) {
	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	put(t, file, site("a.example.org"))
	migrated(t, Options{From: file, To: etcd}, ResultMigrated)
	wipe(t, c, etcd)
	refused(t, Options{From: file, To: etcd}, "was moved to "+etcd.String(), "--replace")
	migrated(t, Options{From: file, To: etcd, Replace: true}, ResultMigrated)
	if got := document(t, etcd); !strings.Contains(got, "a.example.org") {
		t.Errorf("etcd has %s", got)
	}
}

func nodesAreNamed(t *testing.T, c *etcdtest.Cluster) {
	etcd, file := etcdPlaceOn(t, c), filePlace(t)
	put(t, etcd, site("a.example.org"), &state.Record{Kind: state.KindNode, Name: "edge-7", Data: []byte(`{}`)})
	if r := migrated(t, Options{From: etcd, To: file}, ResultMigrated); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "edge-7") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func noEtcdThere(t *testing.T, c *etcdtest.Cluster) {
	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	put(t, file, site("a.example.org"))
	etcd.Etcd.Client.Endpoints = []string{"http://127.0.0.1:1"}
	etcd.Etcd.Client.Timeout = 300e6
	_, err := Run(t.Context(), Options{From: file, To: etcd})
	if err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:1: ") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody is there: %v", err)
	}
	document(t, file) // is in force
}
