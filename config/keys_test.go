package config

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// every leaf field of Config is bound to exactly one key, apart from those that have none.
func TestTable_BindsEveryFieldOnce(t *testing.T) {
	t.Parallel()
	var c Config
	bound := map[any]string{&c.File: "-", &c.ACME.InsecureTLS: "-"}
	for _, k := range table() {
		p := k.field(&c)
		if other, ok := bound[p]; ok {
			t.Errorf("%s and %s share a field", k.name, other)
		}
		bound[p] = k.name
	}
	n := 0
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
			return
		}
		n++
		if _, ok := bound[v.Addr().Interface()]; !ok {
			t.Errorf("Config%s has no key", path)
		}
	}
	walk(reflect.ValueOf(&c).Elem(), "")
	if n != len(bound) {
		t.Errorf("%d fields, %d bound", n, len(bound))
	}
}

func TestTable_IsConsistent(t *testing.T) {
	t.Parallel()
	names, envs := map[string]bool{}, map[string]string{}
	ix := newIndex(table())
	for _, k := range table() {
		for _, name := range append([]string{k.name}, k.aliases...) {
			lower := strings.ToLower(name)
			if names[lower] {
				t.Errorf("%s stands twice", name)
			}
			names[lower] = true
			if _, ok := ix.sections[lower]; ok {
				t.Errorf("%s is a key and a section", name)
			}
		}
		if len(k.env) == 0 {
			t.Errorf("%s has no environment variable", k.name)
		}
		for _, e := range k.env {
			if envs[e] != "" {
				t.Errorf("%s belongs to %s and %s", e, envs[e], k.name)
			}
			envs[e] = k.name
			if !regexp.MustCompile(`^[A-Z0-9_]+$`).MatchString(e) {
				t.Errorf("%s: variable %q", k.name, e)
			}
		}
		if len(k.doc) < 15 || !strings.HasSuffix(k.doc, ".") || strings.Contains(k.doc, "\n") {
			t.Errorf("%s: documentation %q", k.name, k.doc)
		}
		if k.def != "" {
			if err := k.set(&Config{}, value{text: k.def}); err != nil {
				t.Errorf("%s: default: %v", k.name, err)
			}
		}
		if len(Keys()) != len(table()) {
			t.Error("Keys lacks some")
		}
	}
}

// keys, variables and defaults that users of the earlier program rely on.
func TestTable_KnowsTheEarlierKeys(t *testing.T) {
	t.Parallel()
	docs := map[string]KeyDoc{}
	for _, d := range Keys() {
		docs[d.Name] = d
		for _, a := range d.Aliases {
			docs[a] = d
		}
	}
	for _, row := range strings.Split(strings.TrimSpace(`
auth.psk.enabled AUTH_PSK_ENABLED false
auth.psk.key AUTH_PSK_KEY
auth.azureAD.enabled AUTH_AZUREAD_ENABLED false
auth.azureAD.tenantId AUTH_AZUREAD_TENANT_ID
auth.azureAD.clientId AUTH_AZUREAD_CLIENT_ID
auth.auth0.enabled AUTH_AUTH0_ENABLED false
auth.auth0.clientId AUTH_AUTH0_CLIENT_ID
auth.auth0.domain AUTH_AUTH0_DOMAIN
secretsEncryptionKey SECRETS_ENCRYPTION_KEY
port PORT 2265
nodeName NODE_NAME
appRoot APP_ROOT /var/statiko/
manifestFile MANIFEST_FILE _statiko.yaml
disallowLeadership DISALLOW_LEADERSHIP false
state.store STATE_STORE file
state.file.path STATE_FILE_PATH /etc/statiko/state.json
state.etcd.address STATE_ETCD_ADDRESS
state.etcd.keyPrefix STATE_ETCD_KEY_PREFIX /statiko
state.etcd.timeout STATE_ETCD_TIMEOUT 10000
state.etcd.tlsConfiguration.ca STATE_ETCD_TLS_CA
state.etcd.tlsConfiguration.clientCertificate STATE_ETCD_TLS_CLIENT_CERTIFICATE
state.etcd.tlsConfiguration.clientKey STATE_ETCD_TLS_CLIENT_KEY
state.etcd.tlsSkipVerify STATE_ETCD_TLS_SKIP_VERIFY false
repo.type REPO_TYPE
repo.local.path REPO_LOCAL_PATH
repo.azure.account REPO_AZURE_ACCOUNT
repo.azure.container REPO_AZURE_CONTAINER
repo.azure.accessKey REPO_AZURE_ACCESS_KEY
repo.s3.accessKeyId REPO_S3_ACCESS_KEY_ID
repo.s3.secretAccessKey REPO_S3_SECRET_ACCESS_KEY
repo.s3.bucket REPO_S3_BUCKET
repo.s3.endpoint REPO_S3_ENDPOINT s3.amazonaws.com
repo.s3.noTLS REPO_S3_NO_TLS false
azure.tenantId AZURE_TENANT_ID
azure.sp.tenantId AZURE_TENANT_ID
azure.clientId AZURE_CLIENT_ID
azure.sp.clientId AZURE_CLIENT_ID
azure.clientSecret AZURE_CLIENT_SECRET
azure.sp.clientSecret AZURE_CLIENT_SECRET
azure.storage.account AZURE_STORAGE_ACCOUNT
azure.storage.appsContainer AZURE_STORAGE_APPS_CONTAINER apps
azure.keyVault.name AZURE_KEYVAULT_NAME
azure.keyVault.codesignKey.name
certs.azureKeyVault.name CERTS_AZURE_KEYVAULT_NAME
nginx.configPath NGINX_CONFIG_PATH /etc/nginx/
nginx.user NGINX_USER www-data
nginx.commands.start NGINX_START
nginx.commands.restart NGINX_RESTART
nginx.commands.status NGINX_STATUS
nginx.commands.test NGINX_TEST
tls.node.enabled TLS_NODE_ENABLED true
tls.node.certificate TLS_NODE_CERTIFICATE /etc/statiko/node-public.crt
tls.node.key TLS_NODE_KEY /etc/statiko/node-private.key
tls.node.acme TLS_NODE_ACME false
tls.node.address TLS_NODE_ADDRESS
tls.dhparams.bits TLS_DHPARAMS_BITS 4096
tls.dhparams.maxAge TLS_DHPARAMS_MAX_AGE 120
acme.endpoint ACME_ENDPOINT https://acme-v02.api.letsencrypt.org/directory
acme.email ACME_EMAIL
codesign.required CODESIGN_REQUIRED false
disallowUnsignedApps CODESIGN_REQUIRED false
codesign.publicKey CODESIGN_PUBLIC_KEY
temporarySites.domain TEMPORARY_SITES_DOMAIN
notifications.method NOTIFICATIONS_METHOD
notifications.webhook.url NOTIFICATIONS_WEBHOOK_URL
notifications.webhook.payloadKey NOTIFICATIONS_WEBHOOK_PAYLOAD_KEY value1
`), "\n") {
		f := strings.Fields(row)
		d, ok := docs[f[0]]
		switch {
		case !ok:
			t.Errorf("%s is unknown", f[0])
		case len(f) > 1 && !strings.Contains(" "+strings.Join(d.Env, " ")+" ", " "+f[1]+" "):
			t.Errorf("%s has the variables %v, not %s", f[0], d.Env, f[1])
		case len(f) > 2 && d.Default != f[2]:
			t.Errorf("%s has the default %s, not %s", f[0], d.Default, f[2])
		}
	}
}

func TestDefaults_OfNewKeys(t *testing.T) {
	t.Parallel()
	c, w := mustParse(t, minimal, nil)
	if len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}
	for name, v := range map[string][2]any{
		"webserver": {c.WebServer, "builtin"}, "web.httpAddress": {c.Web.HTTPAddress, ":80"}, "web.httpsAddress": {c.Web.HTTPSAddress, ":443"},
		"web.publicHttpsPort": {c.Web.PublicHTTPSPort, 443}, "bindAddress": {c.BindAddress, ""}, "log.level": {c.Log.Level, "info"},
		"log.format": {c.Log.Format, ""}, "store.compareEvery": {c.Store.CompareEvery, 10 * time.Minute},
		"cluster.forgetAfter": {c.Cluster.ForgetAfter, 24 * time.Hour}, "leader.leaseTTL": {c.Leader.LeaseTTL, 10 * time.Second},
		"tls.dhparams.generate": {c.TLS.DHParams.Generate, "always"}, "tls.selfSigned.keyType": {c.TLS.SelfSigned.KeyType, "ecdsa"},
		"tls.selfSigned.days": {c.TLS.SelfSigned.Days, 365}, "repo.keepVersions": {c.Repo.KeepVersions, 5}, "repo.replicas": {c.Repo.Replicas, 2},
		"temporarySites.ttl": {c.TemporarySites.TTL, 7 * 24 * time.Hour}, "nginx.mode": {c.Nginx.Mode, "managed"},
		"api.maxStateSize": {c.API.MaxStateSize, int64(1 << 30)}, "bundle.maxUploadSize": {c.Bundle.MaxUploadSize, int64(4 << 30)},
		"bundle.maxUnpackedSize": {c.Bundle.MaxUnpackedSize, int64(16 << 30)}, "bundle.maxFiles": {c.Bundle.MaxFiles, 200000},
		"bundle.maxRatio": {c.Bundle.MaxRatio, 200}, "state.etcd.timeout": {c.State.Etcd.Timeout, 10 * time.Second},
		"tls.node.address": {c.TLS.Node.Address, "edge-1.example.org"}, "notifications.method": {c.Notifications.Method, "off"},
		"appRoot": {c.AppRoot, "/var/statiko"},
	} {
		if v[0] != v[1] {
			t.Errorf("%s is %v, want %v", name, v[0], v[1])
		}
	}
}
