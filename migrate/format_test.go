package migrate

import (
	"context"
	"os"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/state"
	"statiko/test/etcdtest"
)

// earlierProgram restores a backup of the earlier program as it is into both stores, and a document of one store into
// the other: always the same bytes, secrets included.
func earlierProgram(t *testing.T, c *etcdtest.Cluster) {
	file, etcd := filePlace(t), etcdPlaceOn(t, c)
	restore := func(p Place, text string) string {
		t.Helper()
		doc, err := state.ParseDocument([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s := store(t, p)
		if _, err := s.Restore(context.Background(), doc, 0); err != nil {
			t.Fatal(err)
		}
		s.Close()
		return document(t, p)
	}
	inFile, inEtcd := restore(file, earlier), restore(etcd, earlier)
	if inFile != inEtcd {
		t.Errorf("a backup of the earlier program becomes, in the file,\n%s\nand in etcd\n%s", inFile, inEtcd)
	}
	for _, part := range []string{
		`"cert/imported/wildcard-2020": "ZGVmZ2hpamtsbW5vGWJOpd0CuPrQew5Tw5h/pXacSiCFHaRdpG36YyVco+jY"`, `"domain": "old.example.org"`,
		`"time": "2020-06-02T03:04:05Z"`, `"temporary": true`, `"keyId": "` + file.Keyring.ID() + `"`,
	} {
		if !strings.Contains(inEtcd, part) {
			t.Errorf("%s is not in %s", part, inEtcd)
		}
	}
	// From one store's document into the other, both ways.
	if got := restore(etcdPlaceOn(t, c), inFile); got != inFile {
		t.Errorf("file to etcd: %s", got)
	}
	if got := restore(filePlace(t), inEtcd); got != inEtcd {
		t.Errorf("etcd to file: %s", got)
	}
	// The earlier program's own file, which was never opened by this one.
	raw, target := filePlace(t), etcdPlaceOn(t, c)
	writeFile(t, raw.File, earlier)
	migrated(t, Options{From: raw, To: target}, ResultMigrated)
	if got := document(t, target); got != inEtcd {
		t.Errorf("the earlier program's file becomes %s", got)
	}
	if data, err := os.ReadFile(raw.File); err != nil || string(data) != earlier {
		t.Errorf("the earlier program's file was changed: %v", err)
	}
	// What a restore would refuse, a migration refuses with the place of the fault.
	faulty := filePlace(t)
	writeFile(t, faulty.File, `{"sites":[{"domain":"a.example.org","tls":{"type":"imported","cert":"gone"}}]}`)
	refused(t, Options{From: faulty, To: etcdPlaceOn(t, c)}, "sites[0].tls.cert", `"gone"`)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}

func wipe(t testing.TB, c *etcdtest.Cluster, p Place) {
	t.Helper()
	if _, err := c.Client(t).Delete(t.Context(), p.Etcd.Prefix+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
}
