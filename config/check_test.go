package config

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestW28_EncryptionKeyIsJudgedAtStart(t *testing.T) {
	t.Parallel()
	text := func(key string) string { return strings.Replace(minimal, testKey, key, 1) }
	for name, key := range map[string]string{
		"missing": "", "short": "c2VjcmV0", "17 bytes": base64.StdEncoding.EncodeToString([]byte("secret-17-bytes!!")),
		"not base64": "secret!secret!secret!!==", "other alphabet": "__-_____________________==", "trailing bits": "AAECAwQFBgcICQoLDA0ODx==",
	} {
		f := faultsOf(t, text(key), nil)
		if len(f) != 1 || f[0].Key != "secretsEncryptionKey" || f[0].Line != 2 || !strings.Contains(f[0].Message, "openssl rand -base64 32") {
			t.Errorf("%s: %v", name, f)
		}
		if key != "" && strings.Contains(f[0].Error(), key) {
			t.Errorf("%s: the key is shown: %v", name, f[0])
		}
	}
	for _, key := range []string{testKey, NewEncryptionKey(), " " + testKey + " "} {
		if c, _ := mustParse(t, text(key), nil); c.SecretsEncryptionKey != strings.TrimSpace(key) {
			t.Errorf("got %q", c.SecretsEncryptionKey)
		}
	}
	if f := one(t, "secretsEncryptionOldKeys:\n- "+testKey+"\n- c2VjcmV0\n"); f.Line != 7 || strings.Contains(f.Error(), "c2VjcmV0") {
		t.Errorf("old key: %v", f)
	}
	c, _ := mustParse(t, minimal, map[string]string{"SECRETS_ENCRYPTION_OLD_KEYS": testKey + ", " + testKey})
	if len(c.SecretsEncryptionOldKeys) != 2 || c.SecretsEncryptionOldKeys[1] != testKey {
		t.Errorf("old keys of the environment: %d", len(c.SecretsEncryptionOldKeys))
	}
}

func TestW69_AuthenticationIsJudgedAtStart(t *testing.T) {
	t.Parallel()
	const rest = "secretsEncryptionKey: " + testKey + "\nrepo: {type: local, local: {path: /r}}\n"
	const ad = "azureAD: {enabled: true, tenantId: t, clientId: c}"
	const auth0 = "auth0: {enabled: true, domain: d.example, clientId: c}"
	for name, tt := range map[string]struct{ auth, key, want string }{
		"none":              {"", "auth.psk.enabled", "no method of authentication is enabled"},
		"psk without key":   {"psk: {enabled: true}", "auth.psk.key", "is empty, but auth.psk.enabled is true"},
		"psk not enabled":   {"psk: {key: 0123456789abcdef}", "auth.psk.enabled", "statiko init"},
		"only azure":        {ad, "auth.azureAD.enabled", "is the only method"},
		"only auth0":        {auth0, "auth.auth0.enabled", "is the only method"},
		"azure without ids": {"psk: {enabled: true, key: 0123456789abcdef}, azureAD: {enabled: true, clientId: c}", "auth.azureAD.tenantId", "is required"},
		"both providers":    {"psk: {enabled: true, key: 0123456789abcdef}, " + ad + ", " + auth0, "auth.auth0.enabled", "together with auth.azureAD"},
	} {
		f := faultsOf(t, rest+"auth: {"+tt.auth+"}\n", nil)
		if len(f) != 1 || f[0].Key != tt.key || f[0].Line != 3 || !strings.Contains(f[0].Message, tt.want) {
			t.Errorf("%s: %v", name, f)
		}
	}
	if _, w := mustParse(t, rest+"auth: {psk: {enabled: true, key: short}, "+ad+"}\n", nil); !hasWarning(w, "auth.psk.key", "is short") ||
		!hasWarning(w, "auth.azureAD.enabled", "has no effect yet") || hasWarning(w, "auth.psk.enabled") {
		t.Errorf("warnings: %v", w)
	}
}

func TestW69_MaxAgeZeroMeansNever(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"0", "-1", "-120"} {
		if c, _ := mustParse(t, minimal+"tls: {dhparams: {maxAge: "+n+"}}\n", nil); c.TLS.DHParams.MaxAgeDays != 0 {
			t.Errorf("%s: %d", n, c.TLS.DHParams.MaxAgeDays)
		}
	}
	if c, _ := mustParse(t, minimal+"tls: {dhparams: {maxAge: 7}}\n", nil); c.TLS.DHParams.MaxAgeDays != 7 {
		t.Errorf("7: %d", c.TLS.DHParams.MaxAgeDays)
	}
}

func TestCheck_RequiredSignaturesNeedAKey(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"codesign: {required: true}", "disallowUnsignedApps: true"} {
		if f := one(t, text+"\n"); f.Key != "codesign.publicKey" || !strings.Contains(f.Message, "codesign.required is true") {
			t.Errorf("%s: %v", text, f)
		}
	}
	c, w := mustParse(t, minimal+"codesign: {required: true, publicKey: /etc/statiko/codesign.pem}\n", nil)
	if !c.Codesign.Required || c.Codesign.PublicKey != "/etc/statiko/codesign.pem" || len(w) != 0 {
		t.Errorf("%+v, warnings %v", c.Codesign, w)
	}
}

func TestCheck_Etcd(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", ", etcd: {address: ''}", ", etcd: {keyPrefix: /p}"} {
		f := one(t, "state: {store: etcd"+address+"}\n")
		if f.Key != "state.etcd.address" || f.Line != 5 || f.Message != "is required, as state.store is etcd" {
			t.Errorf("without an address: %v", f)
		}
	}
	c, w := mustParse(t, minimal+`state:
  store: etcd
  etcd: {address: "https://a:2379,https://b:2379", username: statiko, password: hunter22, timeout: 500,
    tlsConfiguration: {ca: /ca.pem, clientCertificate: /c.pem, clientKey: /k.pem}, tlsSkipVerify: true}
store: {compareEvery: 30s}
`, nil)
	e := c.State.Etcd
	if c.State.Store != "etcd" || len(e.Address) != 2 || e.KeyPrefix != "/statiko" || e.Timeout != 500*time.Millisecond || e.Username != "statiko" ||
		e.Password != "hunter22" || e.TLS.CA != "/ca.pem" || e.TLS.ClientKey != "/k.pem" || !e.TLSSkipVerify || c.Store.CompareEvery != 30*time.Second {
		t.Errorf("got %+v", e)
	}
	if len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}
}

func TestCheck_KeysWithoutEffectWarnWhenSet(t *testing.T) {
	t.Parallel()
	sample := map[string]string{"bool": "true", "integer": "2048", "size": "1MiB", "seconds": "20", "milliseconds": "500", "duration": "2h",
		"path": "/x", "list": "https://x.example"}
	special := map[string]string{"repo.keepVersions": "3", "repo.replicas": "3", "acme.endpoint": "https://a.example/d",
		"acme.email": "a@b.example", "notifications.method": "webhook", "notifications.webhook.url": "https://a.example/h", "repo.s3.endpoint": "s.example",
		"cluster.advertise": "n.example:2265", "auth.auth0.enabled": "", "codesign.required": ""}
	env := fullEnv()
	n := 0
	for _, k := range table() {
		if k.status == effective {
			continue
		}
		v, ok := special[k.name]
		if !ok {
			if v = sample[k.typeName()]; v == "" {
				v = "text"
			}
			if len(k.choices) > 0 {
				v = k.choices[0].value
			}
		}
		if v != "" {
			env[k.env[0]] = v
			n++
		}
	}
	_, w := mustParse(t, "", env)
	for _, k := range table() {
		if k.status == effective || env[k.env[0]] == "" {
			continue
		}
		if !hasWarning(w, "environment variable "+k.env[0]+": "+k.name+": has no effect yet") {
			t.Errorf("%s=%s does not warn", k.env[0], env[k.env[0]])
		}
	}
	if len(w) != n || n < 10 {
		t.Errorf("%d warnings for %d keys: %v", len(w), n, w)
	}
	// A switch that is off asks for what happens anyway.
	if _, w := mustParse(t, minimal+"disallowLeadership: false\ncodesign: {required: false}\nnotifications: {method: no}\n", nil); len(w) != 0 {
		t.Errorf("switches that are off: %v", w)
	}
}

func TestCheck_BadValuesAreNamedWithTheirKey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"port: 65536":                         "port: must be 0 to 65535, not 65536",
		"port: 2.5":                           "port: must be a whole number",
		"port: 443":                           "port: would listen on the same port as web.httpsAddress",
		"web: {httpAddress: '[::]:443'}":      "web.httpAddress: would listen on the same port as web.httpsAddress",
		"web: {httpsAddress: 'host:99999'}":   "web.httpsAddress: must be host:port",
		"web: {publicHttpsPort: -1}":          "web.publicHttpsPort: must be 0 to 65535",
		"bindAddress: 127.0.0.1:80":           "bindAddress: must be an IP address or a host name without a port",
		"appRoot: /":                          "appRoot: must be a folder of its own",
		"manifestFile: ../x":                  "manifestFile: must be the name of a file inside",
		"manifestFile: /x":                    "manifestFile: must be the name",
		"state: {store: redis}":               "state.store: must be one of file, etcd, not \"redis\"",
		"state: {etcd: {timeout: soon}}":      "state.etcd.timeout: must be a number of milliseconds",
		"state: {etcd: {address: 'a:1'}}":     "state.etcd.address: item 1: must be a URL",
		"store: {compareEvery: 10}":           "store.compareEvery: must be a duration with its unit",
		"leader: {leaseTTL: 61}":              "leader.leaseTTL: must be 5s to 1m0s",
		"tls: {dhparams: {bits: 3071}}":       "tls.dhparams.bits: must be 2048, 3072, 4096 or 8192",
		"tls: {dhparams: {bits: 1024}}":       "tls.dhparams.bits: 1024 bits can be broken",
		"tls: {dhparams: {maxAge: 6}}":        "tls.dhparams.maxAge: must be 7 to 720",
		"tls: {selfSigned: {keyType: dsa}}":   "tls.selfSigned.keyType: must be one of ecdsa, rsa2048, rsa4096",
		"tls: {selfSigned: {days: 0}}":        "tls.selfSigned.days: must be 3 to 3650",
		"tls: {node: {key: /k}}":              "tls.node.certificate: and tls.node.key must be set together",
		"cors: {origins: ['*']}":              "cors.origins: item 1: must be an origin",
		"cors: {origins: 'https://a/b'}":      "cors.origins: item 1: must be an origin",
		"bundle: {maxUploadSize: lots}":       "bundle.maxUploadSize: must be a size such as",
		"bundle: {maxUploadSize: 0}":          "bundle.maxUploadSize: must be more than 0",
		"bundle: {maxRatio: 0}":               "bundle.maxRatio: must be 1 to",
		"temporarySites: {domain: 'a b'}":     "temporarySites.domain: must be a domain",
		"temporarySites: {ttl: -1h}":          "temporarySites.ttl: must not be negative",
		"notifications: {method: pigeon}":     "notifications.method: must be one of off, webhook",
		"notifications: {method: webhook}":    "notifications.webhook.url: is required",
		"acme: {email: nobody}":               "acme.email: must be an e-mail address",
		"log: {level: loud}":                  "log.level: must be one of debug, info, warn, error",
		"webserver: apache":                   "webserver: must be one of builtin, nginx, none",
		"state: {etcd: {password: hunter22}}": "state.etcd.password: is set without state.etcd.username",
	} {
		f := one(t, text+"\n")
		if got := f.Key + ": " + f.Message; !strings.HasPrefix(got, want) || f.Line != 5 {
			t.Errorf("%s: got line %d, %s; want %s", text, f.Line, got, want)
		}
		if strings.Contains(f.Error(), "hunter22") {
			t.Errorf("shows a secret: %v", f)
		}
	}
}

func TestCheck_ValuesAreNormalised(t *testing.T) {
	t.Parallel()
	c, w := mustParse(t, minimal+`bindAddress: "[::1]"
appRoot: /data//x/
web: {httpAddress: "[::]:080", httpsAddress: "LOCALHOST:0"}
temporarySites: {domain: .Temp.Bücher.example, ttl: 8d}
cors: {origins: ["HTTPS://A.example:443/", "http://b.example:8080"]}
manifest: {allowProxy: [Backend_1, "B.example:080", "::1", "[::1]:80"]}
tls: {node: {address: NODE.example}, dhparams: {bits: 1024, allowWeak: on}}
leader: {leaseTTL: 30}
log: {level: WARNING, format: auto}
port: "0"
nginx: {configPath: /etc/nginx}
state: {etcd: {address: "http://a:1, http://b:2", keyPrefix: /p/, timeout: 1500}}
`, nil)
	for name, v := range map[string][2]any{
		"bindAddress": {c.BindAddress, "::1"}, "appRoot": {c.AppRoot, "/data/x"}, "httpAddress": {c.Web.HTTPAddress, "[::]:80"},
		"httpsAddress": {c.Web.HTTPSAddress, "localhost:0"}, "temporary": {c.TemporarySites.Domain, "temp.xn--bcher-kva.example"},
		"origins": {strings.Join(c.CORS.Origins, " "), "https://a.example http://b.example:8080"},
		"proxy":   {strings.Join(c.Manifest.AllowProxy, " "), "backend_1 b.example:80 ::1 [::1]:80"},
		"address": {c.TLS.Node.Address, "node.example"}, "bits": {c.TLS.DHParams.Bits, 1024}, "lease": {c.Leader.LeaseTTL, 30 * time.Second},
		"level": {c.Log.Level, "warn"}, "format": {c.Log.Format, ""}, "port": {c.Port, 0}, "configPath": {c.Nginx.ConfigPath, "/etc/nginx"},
		"etcd": {strings.Join(c.State.Etcd.Address, " "), "http://a:1 http://b:2"}, "prefix": {c.State.Etcd.KeyPrefix, "/p"},
		"timeout": {c.State.Etcd.Timeout, 1500 * time.Millisecond},
	} {
		if v[0] != v[1] {
			t.Errorf("%s is %v, want %v", name, v[0], v[1])
		}
	}
	if len(w) != 0 {
		t.Errorf("warnings %v", w)
	}
}

func TestCheck_NodeName(t *testing.T) {
	t.Parallel()
	text := strings.Replace(minimal, "nodeName: edge-1.example.org", "", 1)
	o := Options{Path: write(t, t.TempDir(), "c.yaml", text), Hostname: "host-7"}
	if c, _, err := Load(o); err != nil || c.NodeName != "host-7" || c.TLS.Node.Address != "host-7" {
		t.Errorf("default: %v", err)
	}
	if c, w := mustParse(t, text+"nodeName: nil\n", nil); c.NodeName != "nil" || !hasWarning(w, ":5: nodeName", `really called "nil"`) {
		t.Errorf("nil: %q, %v", c.NodeName, w)
	}
	for value, want := range map[string]string{"a/b": "must be at most 253", "\"a\\nb\"": "contains a control character", "é": "printable ASCII"} {
		if f := faultsOf(t, text+"nodeName: "+value+"\n", nil); len(f) != 1 || f[0].Line != 5 || !strings.Contains(f[0].Message, want) {
			t.Errorf("%s: %v", value, f)
		}
	}
	if c, w := mustParse(t, text, nil); c.NodeName != "localhost" || !hasWarning(w, "nodeName", "no host name") {
		t.Errorf("no host name: %q, %v", c.NodeName, w)
	}
}

func TestCheck_ACMEInsecureTLSOnlyInDevelopment(t *testing.T) {
	t.Parallel()
	env := fullEnv()
	env["ACME_INSECURE_TLS"] = "1"
	for _, production := range []bool{false, true} {
		c, _, err := Load(Options{Path: write(t, t.TempDir(), "c.yaml", minimal), Env: lookup(env), Production: production})
		if err != nil || c.ACME.InsecureTLS == production {
			t.Errorf("production %v: %v, %v", production, c, err)
		}
	}
}

// A node that nobody balances visitors over stops at once; one in a cluster gives load balancers the time to notice.
func TestDrainDelay_DefaultFitsTheNode(t *testing.T) {
	t.Parallel()
	const etcd = "state: {store: etcd, etcd: {address: 'http://127.0.0.1:2379'}}\n"
	for name, tt := range map[string]struct {
		text string
		want time.Duration
	}{
		"file": {"", 0}, "etcd": {etcd, 5 * time.Second}, "etcd, no web server": {etcd + "webserver: none\n", 0},
		"etcd, set": {etcd + "drainDelay: 0\n", 0}, "file, set": {"drainDelay: 12\n", 12 * time.Second},
		"with a unit": {"drainDelay: 1m\n", time.Minute},
	} {
		if c, _ := mustParse(t, minimal+tt.text, nil); c.DrainDelay != tt.want {
			t.Errorf("%s: %v, want %v", name, c.DrainDelay, tt.want)
		}
	}
	if f := one(t, "drainDelay: 1h\n"); f.Key != "drainDelay" {
		t.Errorf("an hour: %v", f)
	}
	if f := one(t, "notifications: {patience: 0}\n"); f.Key != "notifications.patience" {
		t.Errorf("no patience: %v", f)
	}
}
