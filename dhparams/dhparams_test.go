package dhparams

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func pemOf(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The digits are those of RFC 7919, appendix A.
func TestBuiltin_IsRFC7919(t *testing.T) {
	t.Parallel()
	for bits, tail := range map[int]string{
		2048: "886B423861285C97FFFFFFFFFFFFFFFF",
		3072: "25E41D2B66C62E37FFFFFFFFFFFFFFFF",
		4096: "C68A007E5E655F6AFFFFFFFFFFFFFFFF",
		6144: "A41D570D7938DAD4A40E329CD0E40E65FFFFFFFFFFFFFFFF",
		8192: "D68C8BB7C5C6424CFFFFFFFFFFFFFFFF",
	} {
		p := Builtin(bits)
		text := fmt.Sprintf("%X", p.P)
		if p.Bits() != bits || p.G.Cmp(big.NewInt(2)) != 0 {
			t.Errorf("%d: %v", bits, p)
		}
		if !strings.HasPrefix(text, "FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1") || !strings.HasSuffix(text, tail) {
			t.Errorf("%d: %s…%s", bits, text[:48], text[len(text)-48:])
		}
	}
	for bits, want := range map[int]int{-1: 2048, 1024: 2048, 2049: 3072, 4096: 4096, 7000: 8192, 16384: 8192} {
		if got := Builtin(bits).Bits(); got != want {
			t.Errorf("%d bits: %d, want %d", bits, got, want)
		}
	}
}

func openssl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	c := exec.CommandContext(t.Context(), path, args...)
	c.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

func TestBuiltin_EqualsOpenSSL(t *testing.T) {
	t.Parallel()
	for _, g := range groups() {
		theirs := openssl(t, "", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", fmt.Sprintf("group:ffdhe%d", g.bits))
		p, err := Parse(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if b := Builtin(int(g.bits)); !p.Equal(b) || b.PEM() != theirs {
			t.Errorf("ffdhe%d is not OpenSSL's", g.bits)
		}
	}
}

// W61: the earlier program refused what OpenSSL makes and the groups of RFC 7919.
func TestW61_StandardGroupsPass(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{2048, 3072, 4096} {
		if testing.Short() && bits > 3072 {
			continue
		}
		p := Builtin(bits)
		if m := new(big.Int).Mod(p.P, big.NewInt(24)).Int64(); m != 23 {
			t.Errorf("%d: p mod 24 = %d", bits, m)
		}
		began := time.Now()
		if err := p.Check(false); err != nil {
			t.Errorf("%d: %v", bits, err)
		}
		t.Logf("%d bits: checked in %v", bits, time.Since(began))
	}
}

func TestParse_OpenSSLBothWays(t *testing.T) {
	t.Parallel()
	for _, bits := range []string{"512", "768"} { // larger ones take too long to make
		p, err := Parse(openssl(t, "", "dhparam", "-text", bits))
		if err != nil {
			t.Fatal(err)
		}
		var e *CheckError
		if err := p.Check(true); !errors.As(err, &e) || len(e.Faults) != 1 || e.Faults[0].Code != FaultTooSmall {
			t.Errorf("%s: %v", bits, err)
		}
	}
	file := filepath.Join(t.TempDir(), "dh.pem")
	if err := os.WriteFile(file, []byte(Builtin(2048).PEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl(t, "", "dhparam", "-in", file, "-check", "-noout")
}

// safe1024 is a safe prime of 1024 bits: the Second Oakley Group, RFC 2409, section 6.2.
const safe1024 = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD" +
	"EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5" +
	"AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF"

// unsafe2048 is a prime p of 2048 bits that is not safe: (p-1)/2 is composite, and has no factor below 20,000.
const unsafe2048 = "DD9E393859FD889FC4075CE94EC0A0A4766730410590085C6C643C396BC7CD953ED0C825C860D73D3BF6481C5FA4CAD5412BF3F110467DFB" +
	"8E6822630C5BF8222C516910B070F569ABE9FCA67E2157E49F5749AEFB53852D3E30EA4DB349CD36AF272622FAF60BA7F4AC89B6585E9A45" +
	"F20D4BAF55BD5D202BD94C51215F271D39FAF0967B381AE5DA20485850C8B168F81CD22218605CF5F0BC099321D69A58B5558C352A913E0E" +
	"20FE092912FBA63C5AC456CC893A97222408A12B13234518701F62B2D3037A48B046A501A600E8A418540724956F97CC4B3804611CD4C983" +
	"BF1587D4B006A6D32E3A5D4CCACF9537DB6E51283C97E60A3F0100AC94939BE3"

// W20: parameters below 2048 bits stop a web server.
func TestW20_SmallParametersAreRefused(t *testing.T) {
	t.Parallel()
	p, ok := new(big.Int).SetString(safe1024, 16)
	if !ok {
		t.Fatal("no number")
	}
	var e *CheckError
	if err := (&Params{P: p, G: big.NewInt(2)}).Check(false); !errors.As(err, &e) || e.Faults[0].Code != FaultTooSmall {
		t.Errorf("1024 bits: %v", err)
	}
	if !strings.Contains(e.Error(), "at least 2048") {
		t.Errorf("says %q", e)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	num := func(s string) *big.Int { n, _ := new(big.Int).SetString(s, 16); return n }
	good, oakley := Builtin(2048).P, num(safe1024)
	less := func(p *big.Int, n int64) *big.Int { return new(big.Int).Sub(p, big.NewInt(n)) }
	huge := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), MaxBits), big.NewInt(1))
	two := big.NewInt(2)
	for _, c := range []struct {
		name   string
		params Params
		weak   bool
		want   string
	}{
		{"RFC 7919", Params{P: good, G: two}, false, ""},
		{"generator 5", Params{P: oakley, G: big.NewInt(5)}, true, ""},
		{"generator of order 2q", Params{P: oakley, G: less(oakley, 2)}, true, ""},
		{"exponent length", Params{P: good, G: two, ExponentBits: 225}, false, ""},
		{"W20: 1024 bits", Params{P: oakley, G: two}, false, "too_small"},
		{"1024 bits, allowed", Params{P: oakley, G: two}, true, ""},
		{"tiny safe prime", Params{P: big.NewInt(23), G: big.NewInt(5)}, true, "too_small"},
		{"generator 1", Params{P: oakley, G: big.NewInt(1)}, true, "bad_generator"},
		{"generator p-1", Params{P: oakley, G: less(oakley, 1)}, true, "bad_generator"},
		{"generator p", Params{P: oakley, G: oakley}, true, "bad_generator"},
		{"generator above", Params{P: oakley, G: new(big.Int).Lsh(oakley, 1)}, true, "bad_generator"},
		{"prime, but not safe", Params{P: num(unsafe2048), G: two}, false, "not_safe_prime"},
		{"not prime", Params{P: less(good, 2), G: two}, false, "not_prime"},
		{"even", Params{P: less(good, 1), G: two}, false, "not_prime"},
		{"short exponents", Params{P: good, G: two, ExponentBits: 100}, false, "short_exponent"},
		{"long exponents", Params{P: good, G: two, ExponentBits: 4000}, false, "short_exponent"},
		{"too large is not tested at all", Params{P: huge, G: two}, false, "too_large"},
		{"everything at once", Params{P: big.NewInt(15), G: big.NewInt(14), ExponentBits: 500}, false, "too_small bad_generator short_exponent not_prime"},
		{"one", Params{P: big.NewInt(1), G: big.NewInt(1)}, false, "too_small bad_generator not_prime"},
		{"two", Params{P: two, G: big.NewInt(1)}, false, "too_small bad_generator not_safe_prime"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var codes []string
			err := c.params.Check(c.weak)
			var e *CheckError
			if errors.As(err, &e) {
				for _, f := range e.Faults {
					codes = append(codes, f.Code)
					if !strings.Contains(err.Error(), f.Text) {
						t.Errorf("%q is not in %q", f.Text, err)
					}
				}
			}
			if got := strings.Join(codes, " "); got != c.want {
				t.Errorf("%q, want %q (%v)", got, c.want, err)
			}
		})
	}
}

// W25: text that is no PEM block made the earlier program panic.
func TestW25_MalformedTextIsAnError(t *testing.T) {
	t.Parallel()
	good := Builtin(2048)
	text := good.PEM()
	type three struct{ P, G, L, More *big.Int }
	one := big.NewInt(1)
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "no PEM block"},
		"junk":            {"not pem at all", "no PEM block"},
		"cut off":         {text[:len(text)/2], "cut off"},
		"damaged":         {strings.Replace(text, "MII", "M!I", 1), "cut off or damaged"},
		"wrong label":     {pemOf("CERTIFICATE", []byte("x")), `"CERTIFICATE"`},
		"X9.42":           {pemOf("X9.42 DH PARAMETERS", []byte("x")), "X9.42"},
		"empty block":     {pemOf(blockType, nil), "PKCS #3"},
		"block of junk":   {pemOf(blockType, []byte("junk")), "PKCS #3"},
		"one number":      {pemOf(blockType, der(t, struct{ P *big.Int }{one})), "PKCS #3"},
		"four numbers":    {pemOf(blockType, der(t, three{good.P, good.G, one, one})), "more than"},
		"negative prime":  {pemOf(blockType, der(t, dhParameter{big.NewInt(-7), one, 0})), "not positive"},
		"zero generator":  {pemOf(blockType, der(t, dhParameter{one, big.NewInt(0), 0})), "not positive"},
		"trailing in DER": {pemOf(blockType, append(der(t, dhParameter{good.P, good.G, 0}), 0)), "behind the parameters"},
		"two blocks":      {text + text, "more than one"},
		"block and half":  {text + text[:40], "more than one"},
		"trailing text":   {text + "x", "behind the PEM block"},
		"headers":         {strings.Replace(text, "-----\n", "-----\nA: b\n\n", 1), "headers"},
		"too long":        {strings.Repeat("x", maxText) + text, "bytes"},
	} {
		if _, err := Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for name, text := range map[string]string{
		"as it is": text, "text before": "    DH Parameters: (2048 bit)\n" + text, "blanks behind": text + " \r\n\n",
		"windows": strings.ReplaceAll(text, "\n", "\r\n"), "no last line end": strings.TrimSpace(text),
	} {
		if p, err := Parse(text); err != nil || !p.Equal(good) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPEM_KeepsExponentLength(t *testing.T) {
	t.Parallel()
	p := &Params{P: Builtin(2048).P, G: big.NewInt(2), ExponentBits: 225}
	again, err := Parse(p.PEM())
	if err != nil || again.ExponentBits != 225 || !again.Equal(p) {
		t.Errorf("%v, %v", again, err)
	}
	if p.Equal(nil) || p.Equal(Builtin(3072)) || (*Params)(nil).Equal(p) {
		t.Error("Equal is wrong")
	}
}

func FuzzParse(f *testing.F) {
	small := &Params{P: big.NewInt(23), G: big.NewInt(5)}
	f.Add(small.PEM())
	f.Add((&Params{P: big.NewInt(23), G: big.NewInt(5), ExponentBits: 3}).PEM())
	f.Add(Builtin(2048).PEM())
	f.Add(pemOf(blockType, []byte{0x30, 0x80, 2, 1, 1}))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(p.PEM())
		if err != nil || !again.Equal(p) || again.ExponentBits != p.ExponentBits {
			t.Fatalf("%v became %v, %v", p, again, err)
		}
		if p.Bits() < 600 {
			_ = p.Check(true)
		}
	})
}
