package server

import (
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/dhparams"
)

func TestDHParams(t *testing.T) {
	t.Parallel()
	at := time.Date(2020, 6, 2, 3, 4, 5, 0, time.UTC)
	var generating *dhparams.Progress
	n := start(t, func(o *Options) {
		o.Now = func() time.Time { return at }
		o.Generating = func() (dhparams.Progress, bool) {
			if generating == nil {
				return dhparams.Progress{}, false
			}
			return *generating, true
		}
	})
	n.get("/dhparams").want(200).same(`{"type":"builtin","generating":false,"bits":2048}`)
	generating = &dhparams.Progress{Expected: 2060.3}
	n.get("/dhparams").want(200).same(`{"type":"builtin","generating":true,"bits":2048,"expected":2060}`)
	generating = &dhparams.Progress{Tried: 12, Expected: 2060.3, Elapsed: 1234567 * time.Microsecond}
	n.get("/dhparams").want(200).same(`{"type":"builtin","generating":true,"bits":2048,"tried":12,"expected":2060,"elapsed":1.234}`)
	generating = nil

	// W61: a group of RFC 7919, which is no different from what OpenSSL makes: p mod 24 is 23.
	group := dhparams.Builtin(3072)
	n.post("/dhparams", api.DHParamsImport{DHParams: group.PEM()}).want(204)
	n.get("/dhparams").want(200).same(`{"type":"cluster","date":"2020-06-02T03:04:05Z","generating":false,"bits":3072}`)
	tag := n.get("/dhparams").header.Get("ETag")
	// The same again, as a form and with text in front.
	values := url.Values{"dhparams": {"in front\n" + group.PEM()}}
	n.do(request{method: "POST", path: "/dhparams", body: values.Encode(), contentType: "application/x-www-form-urlencoded"}).want(204)
	if again := n.get("/dhparams").header.Get("ETag"); again != tag || tag == "" {
		t.Errorf("the same parameters again: ETag %s after %s", again, tag)
	}
	n.do(request{method: "POST", path: "/dhparams", body: api.DHParamsImport{DHParams: group.PEM()},
		header: map[string]string{"If-Match": `"0-0"`}}).fails(api.CodePrecondition)
}

func TestW25_DHParamsFaultsAreNamed(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	even := &dhparams.Params{P: new(big.Int).Lsh(big.NewInt(1), 600), G: big.NewInt(1)}
	for why, test := range map[string]struct {
		text   string
		faults int
	}{
		"missing":           {"", 1},
		"not PEM":           {"hello", 1},
		"cut off":           {"-----BEGIN DH PARAMETERS-----\nMEYC", 1},
		"another block":     {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 1},
		"built-in already":  {dhparams.Builtin(2048).PEM(), 1},
		"small, even, g=1":  {even.PEM(), 3},
		"longer than any":   {strings.Repeat("x", 100_000), 1},
		"not a number pair": {"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n", 1},
	} {
		t.Run(why, func(t *testing.T) {
			a := n.in(t).post("/dhparams", api.DHParamsImport{DHParams: test.text})
			if e := a.fails(api.CodeInvalid); len(e.Details) != test.faults {
				t.Errorf("%d faults, want %d: %s", len(e.Details), test.faults, a.body)
			}
		})
	}
	n.post("/dhparams", "").fails(api.CodeMalformed)
	n.post("/dhparams", `{"dhparams":[]}`).fails(api.CodeInvalid, "dhparams")
	n.get("/dhparams").same(`{"type":"builtin","generating":false,"bits":2048}`)
}

func TestDHParams_WeakOnesOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	// The 1024-bit group of RFC 2409, section 6.2.
	p, ok := new(big.Int).SetString("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"+
		"EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"+
		"49286651ECE65381FFFFFFFFFFFFFFFF", 16)
	if !ok {
		t.Fatal("not a number")
	}
	weak := api.DHParamsImport{DHParams: (&dhparams.Params{P: p, G: big.NewInt(2)}).PEM()}
	start(t, nil).post("/dhparams", weak).fails(api.CodeInvalid, "dhparams")
	start(t, func(o *Options) { o.AllowWeakDH = true }).post("/dhparams", weak).want(204)
}
