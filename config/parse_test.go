package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse_ThreeFaultsAtOnceWithLines(t *testing.T) {
	t.Parallel()
	text := `auth:
  psk:
    enabled: true
    key: 0123456789abcdef
secretsEncryptionKey: AAECAwQFBgcICQoLDA0ODw==
prot: 2265
repo:
  type: local
web:
  httpAddress: 80
`
	_, _, err := Parse("/etc/x.yaml", []byte(text), nil)
	want := `/etc/x.yaml:6: prot: is not a key of the configuration; did you mean port?
/etc/x.yaml:7: repo.local.path: is required, as repo.type is local
/etc/x.yaml:10: web.httpAddress: must be host:port or :port, with a port of 0 to 65535, such as :443 or 127.0.0.1:8443, not "80"`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	f := err.(*FaultsError).Faults
	if f[2].Line != 10 || f[2].Column != 3 || f[2].Key != "web.httpAddress" || f[2].File != "/etc/x.yaml" {
		t.Errorf("third fault %+v", f[2])
	}
}

func TestParse_FaultInTheEnvironmentNamesTheVariable(t *testing.T) {
	t.Parallel()
	f := faultsOf(t, minimal+"prot: 1\n", map[string]string{"PORT": "70000", "AUTH_PSK_ENABLED": "perhaps"})
	if len(f) != 3 || f[0].Line == 0 || f[1].Env == "" || f[2].Env == "" {
		t.Fatalf("got %v", f)
	}
	all := (&FaultsError{f}).Error()
	for _, want := range []string{"environment variable PORT: port: must be 0 to 65535", "environment variable AUTH_PSK_ENABLED: auth.psk.enabled: must be true or false"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

func TestParse_UnknownKeysAndNearestKnown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"prot: 1":                           "did you mean port?",
		"atuh: {psk: {enabled: true}}":      "did you mean auth?",
		"web: {httpAdress: ':80'}":          "did you mean web.httpAddress?",
		"httpsAddress: ':80'":               "did you mean web.httpsAddress?",
		"psk.key: x":                        "did you mean auth.psk.key?",
		"secretEncryptionKey: x":            "did you mean secretsEncryptionKey?",
		"state: {etcd: {adress: x}}":        "did you mean state.etcd.address?",
		"azure: {sp: {tenantid2: x}}":       "did you mean azure.tenantId?",
		"zzzzzzzzzzzzzzzzz: 1":              "is not a key of the configuration",
		"? [a, b]\n: 1":                     "a key must be a name",
		strings.Repeat("x", 900) + ": true": "is not a key",
	} {
		if f := one(t, text+"\n"); !strings.Contains(f.Message, want) || f.Line != 5 {
			t.Errorf("%.40s: line %d, %s; want line 5, %s", text, f.Line, f.Message, want)
		}
	}
}

func TestParse_KeysAreCaseInsensitiveAndMayBeDotted(t *testing.T) {
	t.Parallel()
	c, _ := mustParse(t, "AUTH:\n  Psk: {ENABLED: yes, Key: 0123456789abcdef}\nsecretsencryptionkey: "+testKey+
		"\nrepo.type: LOCAL\nrepo.local:\n  path: /r/\nnodename: n\n", nil)
	if !c.Auth.PSK.Enabled || c.Repo.Local.Path != "/r" || c.Repo.Type != "local" || c.NodeName != "n" {
		t.Errorf("got %+v", c.Repo)
	}
}

func TestParse_BothSpellings(t *testing.T) {
	t.Parallel()
	c, _ := mustParse(t, minimal+`azure:
  sp: {tenantId: t, clientId: c, clientSecret: s}
  storage: {account: acc, appsContainer: cont}
  keyVault: {name: vault, codesignKey: {name: ck}}
disallowUnsignedApps: false
`, nil)
	if c.Azure.TenantID != "t" || c.Azure.ClientID != "c" || c.Azure.ClientSecret != "s" || c.Repo.Azure.Account != "acc" ||
		c.Repo.Azure.Container != "cont" || c.Certs.AzureKeyVault.Name != "vault" || c.Azure.CodesignKeyName != "ck" {
		t.Errorf("documented spelling: %#v %#v", c.Azure, c.Repo.Azure)
	}
	c2, _ := mustParse(t, minimal+`azure: {tenantId: t, clientId: c, clientSecret: s}
certs: {azureKeyVault: {name: vault}}
`, map[string]string{"REPO_AZURE_ACCOUNT": "acc", "AZURE_STORAGE_APPS_CONTAINER": "cont"})
	if c2.Azure.TenantID != "t" || c2.Certs != c.Certs || c2.Repo.Azure != c.Repo.Azure {
		t.Errorf("coded spelling: %#v %#v", c2.Azure, c2.Repo.Azure)
	}
	env := fullEnv()
	delete(env, "AUTH_PSK_KEY")
	env["AUTH_KEY"] = "documented-name-of-it"
	if c, _ := mustParse(t, "", env); c.Auth.PSK.Key != "documented-name-of-it" {
		t.Errorf("AUTH_KEY: %q", c.Auth.PSK.Key)
	}
	env["AUTH_PSK_KEY"] = "coded-name-of-the-same"
	c, w := mustParse(t, "", env)
	if c.Auth.PSK.Key != "coded-name-of-the-same" || !hasWarning(w, "AUTH_KEY", "is ignored", "AUTH_PSK_KEY") {
		t.Errorf("both variables: %q, %v", c.Auth.PSK.Key, w)
	}
	f := one(t, "azure:\n  tenantId: a\n  sp:\n    tenantId: a\n")
	if f.Line != 8 || f.Key != "azure.tenantId" || !strings.Contains(f.Message, "azure.sp.tenantId means the same as the key in line 6") {
		t.Errorf("both spellings: %+v", f)
	}
}

func TestParse_StructureFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		line int
		want string
	}{
		"duplicate key":           {"port: 1\nport: 2\n", 6, "port: is written twice: it stands in line 5 already"},
		"duplicate in other case": {"port: 1\nPORT: 2\n", 6, "is written twice"},
		"duplicate section":       {"log: {level: info}\nlog: {format: json}\n", 6, "log: is written twice"},
		"value for a section":     {"log: info\n", 5, "log: holds keys, such as log.level"},
		"section for a value":     {"port: {number: 3}\n", 5, "port: must be a value"},
		"list for a value":        {"port: [1]\n", 5, "port: must be one value"},
		"list in a list":          {"cors:\n  origins:\n  - https://a.example\n  - [x]\n", 8, "item 2: the list's items must be plain"},
		"bad item":                {"manifest:\n  allowProxy:\n  - a.example\n  - http://b.example/\n", 8, "item 2: must be a host or host:port"},
		"merge":                   {"log: &l {level: info}\nweb: {<<: *l}\n", 6, "merging with << is not supported"},
		"second document":         {"---\nport: 1\n", 5, "a second document begins here"},
		"tag":                     {"port: !!binary MQ==\n", 5, "has a YAML tag, which is not supported"},
		"recursive anchor":        {"log: &a\n  level: *a\n", 6, "log.level: must be a value"},
	} {
		f := one(t, tt.text)
		if f.Line != tt.line || !strings.Contains(f.Error(), tt.want) {
			t.Errorf("%s: got line %d: %v", name, f.Line, f)
		}
	}
}

func TestParse_SyntaxErrorsHaveTheirLine(t *testing.T) {
	t.Parallel()
	for text, line := range map[string]int{
		"port: 1\nlog:\n\tlevel: info\n":             3,
		"port: 1\nlog: {level: info\nnodeName: x\n":  2,
		"port: 1\nnodeName: a: b\n":                  2,
		"port: 1\nlog:\n  level: info\n bad: true\n": 4,
		"port: 1\nauth: {psk: {key: *tops3cret}}\n":  2,
		"- port\n": 1, "just text\n": 1,
	} {
		f := faultsOf(t, text, nil)
		if len(f) != 1 || f[0].Line != line {
			t.Errorf("%q: %v, want line %d", text, f, line)
		}
		if strings.Contains(f[0].Error(), "tops3cret") {
			t.Errorf("shows a secret: %v", f[0])
		}
	}
}

func TestParse_MistypedSecretsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, psk := range []string{
		"{key: !tops3cret}", "{key: !!tops3cret x}", "{key:tops3cret}", "{key:\"tops3cret\"}", "{key=tops3cret}", "{key tops3cret}",
		"{key: *tops3cret}", "{key: [tops3cret]}", "{key: {tops3cret: 1}}", "{enabled: true, key: \"tops3cret\\0\"}", "{key: tops3cret, key: tops3cret}",
		"{key: @tops3cret}", "{key: %tops3cret}", "{key: \"tops3cret\\q\"}", "{key: 'tops3cret}", "{key: - tops3cret}",
	} {
		text := "secretsEncryptionKey: tops3cret\nsecretsEncryptionOldKeys: tops3cret\nrepo: {type: local}\nauth:\n  psk: " + psk + "\n"
		for _, f := range faultsOf(t, text, map[string]string{"NOTIFICATIONS_WEBHOOK_URL": "tops3cret"}) {
			if strings.Contains(f.Error(), "s3cret") {
				t.Errorf("%s: %v", psk, f)
			}
		}
	}
}

func TestParse_EmptyMeansNotSet(t *testing.T) {
	t.Parallel()
	c, w := mustParse(t, minimal+"port:\nappRoot: ''\nlog:\ncors: {origins: []}\nstate: {store: ~, etcd: {address: '', tlsConfiguration: {ca: ''}}}\n", nil)
	if c.Port != 2265 || c.AppRoot != "/var/statiko" || c.State.Store != "file" || c.CORS.Origins != nil || len(w) != 0 {
		t.Errorf("got %+v, warnings %v", c.State, w)
	}
	mustParse(t, "", fullEnv())
	mustParse(t, "# nothing\n---\n", fullEnv())
}

func TestParse_UnquotedSecretsKeepTheirText(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"0012345678901234567", "1e100000000000000000", "2026-01-02 03:04:05.678", "0x1234567890abcdef"} {
		c, _ := mustParse(t, strings.Replace(minimal, `"0123456789abcdef0123"`, s, 1), nil)
		if c.Auth.PSK.Key != s {
			t.Errorf("%s became %s", s, c.Auth.PSK.Key)
		}
	}
}

func TestParse_FaultsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 5000 {
		b.WriteString("k" + itoa(i) + ": 1\n")
	}
	if f := faultsOf(t, b.String(), nil); len(f) != maxFaults {
		t.Errorf("%d faults", len(f))
	}
}

func TestValues_DurationsAndSizes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"90s": 90 * time.Second, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "1h30m": 90 * time.Minute} {
		if got, err := parseDuration(s, 0); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if got, err := parseDuration("1500", time.Millisecond); err != nil || got != 1500*time.Millisecond {
		t.Errorf("1500 ms: %v, %v", got, err)
	}
	for _, s := range []string{"", "5", "d", "7 days", "1d-2h", "999999d", "36600d99999999h", "1x"} {
		if got, err := parseDuration(s, 0); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
	if _, err := parseDuration("9223372036854775807", time.Second); err == nil {
		t.Error("overflow accepted")
	}
	for s, want := range map[string]int64{"4GiB": 4 << 30, "512 MiB": 512 << 20, "1kB": 1000, "1.5KiB": 1536, "0": 0, "77": 77, "2gib": 2 << 30} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-1", "GiB", "1XB", "1e9", "99999999999999999TiB", "1,5GiB", "NaN"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestNearest_Distance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"prot", "port", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}} {
		if got := distance(tt.a, tt.b); got != tt.want || distance(tt.b, tt.a) != tt.want {
			t.Errorf("%s, %s: %d", tt.a, tt.b, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add(Sample())
	f.Add(InitFile(InitOptions{PSK: "p", EncryptionKey: testKey, Dev: true, DevDir: "/d"}))
	f.Add([]byte("a: &a [*a]\nport: *a\n<<: *a\n"))
	f.Add([]byte("port: 99999\nweb: {httpAddress: '[::1'}\nnodeName: \"\\x00\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, w, err := Parse("f", data, lookup(map[string]string{"SECRETS_ENCRYPTION_KEY": testKey}))
		c2, w2, err2 := Parse("f", data, lookup(map[string]string{"SECRETS_ENCRYPTION_KEY": testKey}))
		if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() || !slices.Equal(w, w2) || (c == nil) != (c2 == nil) {
			t.Fatalf("not the same twice:\n%v\n%v", err, err2)
		}
		if err == nil {
			if c.Port < 0 || c.Port > 65535 || c.NodeName == "" || c.AppRoot == "" || c.Repo.Type != "local" || !c.Auth.PSK.Enabled || c.Auth.PSK.Key == "" {
				t.Fatalf("accepted %q", data)
			}
			return
		}
		faults := err.(*FaultsError).Faults
		for i, f := range faults {
			if f.Message == "" || f.Line < 0 || strings.Contains(f.Error(), "\n") {
				t.Fatalf("fault %+v", f)
			}
			if i > 0 && f.Line != 0 && (faults[i-1].Line == 0 || f.Line < faults[i-1].Line) {
				t.Fatalf("not in order: %v", err)
			}
		}
		if len(faults) == 0 {
			t.Fatal("an error without faults")
		}
	})
}
