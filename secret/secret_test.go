package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key16    = "AAECAwQFBgcICQoLDA0ODw=="
	otherKey = "EBESExQVFhcYGRobHB0eHw=="
)

var key32 = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))

func newRing(t testing.TB, key string, old ...string) *Keyring {
	t.Helper()
	r, err := NewKeyring(key, old...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpen_VectorOfTheEarlierProgram(t *testing.T) {
	blob, err := hex.DecodeString("6465666768696a6b6c6d6e6f" + "19624ea5dd02b8fad07b0e53c3987fa5769c4a20851da45da46dfa63255ca3e8d8")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := newRing(t, key16).Open(blob)
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := UnpackPair(plain)
	if err != nil || string(key) != "KEY" || string(cert) != "CERTIF" {
		t.Fatalf("got %q, %q, %v", key, cert, err)
	}
	packed, err := PackPair(key, cert)
	if err != nil || hex.EncodeToString(packed) != "03000000060000004b4559434552544946" {
		t.Fatalf("packed %x, %v", packed, err)
	}
}

func TestPairName_Vectors(t *testing.T) {
	for _, c := range []struct {
		domain  string
		aliases []string
		want    string
	}{
		{"node1.test", nil, "32525f5e24f2e60"},
		{"good.example.com", []string{"www.good.example.com"}, "8ea6a518ecbdfd0"},
		{"example.org", []string{"www.example.org"}, "4487ee25a6a9707"},
		{"www.example.org", []string{"example.org"}, "3223bbe38d776ed"},
	} {
		if got := PairName("cert/selfsigned/", c.domain, c.aliases); got != "cert/selfsigned/"+c.want {
			t.Errorf("%s %v: %s, want %s", c.domain, c.aliases, got, c.want)
		}
	}
}

func TestSealOpen(t *testing.T) {
	for _, key := range []string{key16, key32, " " + key16 + "\n"} {
		r := newRing(t, key)
		for _, n := range []int{0, 1, 16, 1000, MaxPlain} {
			plain := bytes.Repeat([]byte{'x'}, n)
			a, err := r.Seal(plain)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := r.Seal(plain)
			if bytes.Equal(a, b) || len(a) != n+Overhead {
				t.Fatalf("%d bytes: sealed twice to the same, or to %d bytes", n, len(a))
			}
			got, err := r.Open(a)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes: %v", n, err)
			}
			a[len(a)/2] ^= 1
			if _, err := r.Open(a); !errors.Is(err, ErrWrongKey) {
				t.Fatalf("a changed byte was not noticed: %v", err)
			}
		}
		if _, err := r.Seal(make([]byte, MaxPlain+1)); err == nil {
			t.Fatal("sealed more than MaxPlain")
		}
	}
}

func TestOpen_OldKeysAndForeignKeys(t *testing.T) {
	old, now := newRing(t, key16), newRing(t, key32, key16, key32, key16)
	sealed, _ := old.Seal([]byte("hello"))
	plain, id, err := now.OpenID(sealed)
	if err != nil || string(plain) != "hello" || id != old.ID() || id == now.ID() {
		t.Fatalf("%q %s %v", plain, id, err)
	}
	if ids := now.IDs(); len(ids) != 2 || ids[0] != now.ID() || ids[1] != old.ID() {
		t.Fatalf("ids %v", ids)
	}
	if !now.Knows(old.ID()) || old.Knows(now.ID()) || now.Knows("") {
		t.Fatal("Knows is wrong")
	}
	fresh, _ := now.Seal([]byte("hello"))
	if _, err := old.Open(fresh); !errors.Is(err, ErrWrongKey) {
		t.Fatalf("a foreign key opened: %v", err)
	}
	for n := range Overhead {
		if _, err := now.Open(make([]byte, n)); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// The id is stored in states and backups, so it must never change.
func TestID_IsStable(t *testing.T) {
	if got := newRing(t, key16).ID(); got != "aacb10ce6bdb4a38" {
		t.Fatalf("id %s", got)
	}
}

func TestDerive(t *testing.T) {
	r := newRing(t, key16)
	a, err := r.Derive("node to node", 32)
	if err != nil || len(a) != 32 {
		t.Fatal(len(a), err)
	}
	again, _ := r.Derive("node to node", 32)
	b, _ := r.Derive("something else", 32)
	c, _ := newRing(t, otherKey, key16).Derive("node to node", 32)
	if !bytes.Equal(a, again) || bytes.Equal(a, b) || bytes.Equal(a, c) {
		t.Fatal("derived keys do not depend on key and purpose alone")
	}
	for _, n := range []int{-1, 0, 8161} {
		if _, err := r.Derive("x", n); err == nil {
			t.Errorf("derived %d bytes", n)
		}
	}
}

func TestNewKeyring_ErrorsNeverEchoTheKey(t *testing.T) {
	for name, keys := range map[string][]string{
		"empty":         {""},
		"not base64":    {"sosecret!sosecret"},
		"url alphabet":  {"__79_Pv6-fj39vX08_Lx8A=="},
		"15 bytes":      {base64.StdEncoding.EncodeToString([]byte("fifteen secrets"))},
		"24 bytes":      {base64.StdEncoding.EncodeToString([]byte("twenty-four secret bytes"))},
		"no padding":    {strings.TrimRight(key16, "=")},
		"stray bits":    {"AAECAwQFBgcICQoLDA0ODx=="},
		"broken inside": {"AAECAwQF gcICQoLDA0ODw=="},
		"bad old key":   {key16, "sosecret!sosecret"},
	} {
		_, err := NewKeyring(keys[0], keys[1:]...)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, k := range keys {
			if k = strings.TrimSpace(k); len(k) > 3 && strings.Contains(err.Error(), k[:4]) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(keys) > 1 && !strings.Contains(err.Error(), "old encryption key 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyring_NeverPrinted(t *testing.T) {
	r := newRing(t, key16, otherKey)
	type holder struct {
		Public  *Keyring
		private *Keyring
		value   Keyring
	}
	h := holder{r, r, *r}
	var text strings.Builder
	for _, v := range []any{r, *r, h, &h, []any{r}, map[string]*Keyring{"k": r}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(j)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	zap.New(core).Info("x", zap.Any("ring", r), zap.Any("holder", h), zap.Reflect("r", *r))
	for _, e := range logs.All() {
		line, err := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()).EncodeEntry(e.Entry, e.Context)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(line.Bytes())
	}
	got := text.String()
	if !strings.Contains(got, hidden) {
		t.Fatal("nothing was hidden")
	}
	for _, leak := range []string{"AAECAwQF", "000102030405", "0 1 2 3 4", "0x0, 0x1, 0x2", "EBESExQV", "101112131415", "16 17 18"} {
		if strings.Contains(got, leak) {
			t.Errorf("a key shows as %q in %s", leak, got)
		}
	}
}

func TestPackPair_Limits(t *testing.T) {
	full := bytes.Repeat([]byte{'k'}, MaxPairPart)
	b, err := PackPair(full, full)
	if err != nil || len(b) > MaxPlain {
		t.Fatalf("the largest pair: %d bytes, %v", len(b), err)
	}
	for name, p := range map[string][2][]byte{
		"no key":        {nil, full},
		"no cert":       {full, nil},
		"key too long":  {append(full[:MaxPairPart:MaxPairPart], 'x'), full},
		"cert too long": {full, append(full[:MaxPairPart:MaxPairPart], 'x')},
	} {
		if _, err := PackPair(p[0], p[1]); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestUnpackPair_Malformed(t *testing.T) {
	good, _ := PackPair([]byte("KEY"), []byte("CERTIF"))
	for name, b := range map[string][]byte{
		"nothing":           nil,
		"half a header":     good[:5],
		"a header alone":    good[:8],
		"cut":               good[:len(good)-1],
		"trailing byte":     append(bytes.Clone(good), 0),
		"no key":            {0, 0, 0, 0, 1, 0, 0, 0, 'c'},
		"no certificate":    {1, 0, 0, 0, 0, 0, 0, 0, 'k'},
		"lengths overflow":  {0xff, 0xff, 0xff, 0xff, 0x0a, 0, 0, 0, 'k'},
		"lengths overflow2": {2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'k'},
	} {
		if _, _, err := UnpackPair(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzUnpackPair(f *testing.F) {
	good, _ := PackPair([]byte("KEY"), []byte("CERTIF"))
	f.Add(good)
	f.Add(good[:9])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0a, 0, 0, 0, 'k'})
	f.Fuzz(func(t *testing.T, b []byte) {
		key, cert, err := UnpackPair(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if len(key) == 0 || len(cert) == 0 {
			t.Fatal("an empty part")
		}
		if len(key) > MaxPairPart || len(cert) > MaxPairPart {
			return
		}
		again, err := PackPair(key, cert)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
	})
}
