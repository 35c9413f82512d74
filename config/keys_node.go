package config

import (
	"encoding/base64"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

func nodeKeys() []key {
	return []key{
		{
			name: "nodeName", env: []string{"NODE_NAME"}, defText: "the machine's host name",
			field: func(c *Config) any { return &c.NodeName },
			doc: "Name of this node, shown to clients and, unless `tls.node.address` is set, the host name in the node's own " +
				"certificate. In a cluster every node needs a name of its own; set it in containers, whose host names change.",
			check: checkNodeName,
		}, {
			name: "port", env: []string{"PORT"}, def: "2265",
			field: func(c *Config) any { return &c.Port },
			doc:   "TCP port of the API that `stkcli` talks to. 0 takes any free port, which only tests want.",
			check: func(l *loader) { l.between(l.Port, 0, 65535) },
		}, {
			name: "bindAddress", env: []string{"BIND_ADDRESS"}, defText: "all addresses, IPv4 and IPv6",
			field: func(c *Config) any { return &c.BindAddress },
			doc:   "IP address or host name on which the API listens, without a port. `127.0.0.1` keeps it on this machine.",
			check: func(l *loader) {
				if host, err := bareHost(l.BindAddress); err != nil {
					l.fault("must be an IP address or a host name without a port (the port is the key port), not %s", l.key.show(l.BindAddress))
				} else {
					l.BindAddress = host
				}
			},
		}, {
			name: "appRoot", env: []string{"APP_ROOT"}, def: "/var/statiko/", path: true,
			field: func(c *Config) any { return &c.AppRoot },
			doc: "Folder for the node's own data: unpacked apps and its own certificate. It is made if it is missing; " +
				"its parent folder must exist.",
			check: func(l *loader) {
				if l.AppRoot == string(filepath.Separator) || l.AppRoot == "." {
					l.fault("must be a folder of its own, not %s", l.key.show(l.AppRoot))
				}
			},
		}, {
			name: "manifestFile", env: []string{"MANIFEST_FILE"}, def: "_statiko.yaml",
			field: func(c *Config) any { return &c.ManifestFile },
			doc:   "Name of the manifest in an app bundle, relative to the bundle's root.",
			check: func(l *loader) {
				f := l.ManifestFile
				if f != path.Clean(f) || path.IsAbs(f) || f == "." || f == ".." || strings.HasPrefix(f, "../") || strings.Contains(f, `\`) {
					l.fault("must be the name of a file inside the bundle, such as _statiko.yaml, not %s", l.key.show(f))
				}
			},
		}, {
			name: "disallowLeadership", env: []string{"DISALLOW_LEADERSHIP"}, def: "false",
			field: func(c *Config) any { return &c.DisallowLeadership },
			doc: "Keeps this node from ever leading its cluster. The leader makes certificates and Diffie-Hellman parameters, " +
				"so at least one node must be allowed to lead.",
		}, {
			name: "drainDelay", env: []string{"DRAIN_DELAY"}, unit: time.Second, defText: "5s with `state.store: etcd`, 0 without and with `webserver: none`",
			field: func(c *Config) any { return &c.DrainDelay },
			doc: "For how long a node that is told to stop goes on serving while `/readyz` answers 503, so that load balancers " +
				"send visitors to other nodes before it is gone. It should be longer than they need to notice.",
			check: func(l *loader) {
				if !l.isSet() && l.State.Store == "etcd" && l.WebServer != "none" {
					l.DrainDelay = 5 * time.Second
				}
				l.durations(l.DrainDelay, 0, 10*time.Minute)
			},
		}, {
			name: "secretsEncryptionKey", env: []string{"SECRETS_ENCRYPTION_KEY"}, secret: true,
			required: "it encrypts private keys in the state; make one with `openssl rand -base64 32`, or let `statiko init` write a configuration with one",
			field:    func(c *Config) any { return &c.SecretsEncryptionKey },
			doc: "Key that encrypts the secrets in the state: base64 of 16 bytes (AES-128) or 32 bytes (AES-256), random. Required, " +
				"and the same on all nodes of a cluster. Without it a backup of the state is worth little: keep a copy elsewhere. " +
				"`openssl rand -base64 32` makes one.",
			check: func(l *loader) {
				l.SecretsEncryptionKey = strings.TrimSpace(l.SecretsEncryptionKey)
				if problem := encryptionKey(l.SecretsEncryptionKey); problem != "" {
					l.fault("%s", problem)
				}
			},
		}, {
			name: "secretsEncryptionOldKeys", env: []string{"SECRETS_ENCRYPTION_OLD_KEYS"}, secret: true,
			field: func(c *Config) any { return &c.SecretsEncryptionOldKeys },
			doc: "Earlier values of `secretsEncryptionKey`. They open secrets that were sealed before the key was changed, and seal " +
				"nothing.",
			check: func(l *loader) {
				for i, k := range l.SecretsEncryptionOldKeys {
					if problem := encryptionKey(k); problem != "" {
						l.faultItem(i, "%s", problem)
					}
				}
			},
		},
	}
}

// encryptionKey says what is wrong with a key, without repeating it.
func encryptionKey(s string) string {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	switch {
	case err != nil:
		return "must be base64 of 16 or 32 random bytes (24 or 44 characters, ending in =): this is no base64; make one with `openssl rand -base64 32`"
	case len(raw) != 16 && len(raw) != 32:
		return "must be base64 of 16 or 32 random bytes (24 or 44 characters, ending in =): this has another length; make one with `openssl rand -base64 32`"
	}
	return ""
}

func checkNodeName(l *loader) {
	l.NodeName = strings.TrimSpace(l.NodeName)
	switch {
	case l.NodeName == "":
		l.warn("the machine has no host name: this node is called localhost; set nodeName")
		l.NodeName = "localhost"
	case len(l.NodeName) > 253 || strings.Contains(l.NodeName, "/") ||
		strings.ContainsFunc(l.NodeName, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }):
		l.fault("must be at most 253 printable ASCII characters without a slash, such as a host name")
	case l.isSet() && (l.NodeName == "nil" || l.NodeName == "null"):
		l.warn("the node is really called %q; leave the key out to use the machine's host name", l.NodeName)
	}
}

func authKeys() []key {
	return []key{
		{
			name: "auth.psk.enabled", env: []string{"AUTH_PSK_ENABLED"}, def: "false",
			field: func(c *Config) any { return &c.Auth.PSK.Enabled },
			doc:   "Accepts the pre-shared key `auth.psk.key` on the API.",
			check: checkAuth,
		}, {
			name: "auth.psk.key", env: []string{"AUTH_PSK_KEY", "AUTH_KEY"}, secret: true,
			field: func(c *Config) any { return &c.Auth.PSK.Key },
			doc: "The pre-shared key: whoever knows it may do everything. Use at least 16 random characters; `statiko init` writes " +
				"such a one. Required if `auth.psk.enabled` is true.",
			check: func(l *loader) {
				switch n := len(l.Auth.PSK.Key); {
				case !l.Auth.PSK.Enabled:
				case n == 0:
					l.fault("is empty, but auth.psk.enabled is true: set a long random key; `statiko init` writes one")
				case n < 16:
					l.warn("is short and can be guessed: use at least 16 random characters")
				}
			},
		}, {
			name: "auth.azureAD.enabled", env: []string{"AUTH_AZUREAD_ENABLED"}, def: "false", status: notYet,
			field: func(c *Config) any { return &c.Auth.AzureAD.Enabled },
			doc:   "Accepts tokens of Azure Active Directory on the API. Cannot be enabled together with `auth.auth0.enabled`.",
		}, {
			name: "auth.azureAD.tenantId", env: []string{"AUTH_AZUREAD_TENANT_ID"}, status: notYet,
			field: func(c *Config) any { return &c.Auth.AzureAD.TenantID },
			doc:   "Tenant of Azure Active Directory. Required if `auth.azureAD.enabled` is true.",
			check: func(l *loader) { l.needs(l.Auth.AzureAD.Enabled, "auth.azureAD.enabled is true") },
		}, {
			name: "auth.azureAD.clientId", env: []string{"AUTH_AZUREAD_CLIENT_ID"}, status: notYet,
			field: func(c *Config) any { return &c.Auth.AzureAD.ClientID },
			doc:   "Client id of the application registered in Azure Active Directory. Required if `auth.azureAD.enabled` is true.",
			check: func(l *loader) { l.needs(l.Auth.AzureAD.Enabled, "auth.azureAD.enabled is true") },
		}, {
			name: "auth.auth0.enabled", env: []string{"AUTH_AUTH0_ENABLED"}, def: "false", status: notYet,
			field: func(c *Config) any { return &c.Auth.Auth0.Enabled },
			doc:   "Accepts tokens of Auth0 on the API. Cannot be enabled together with `auth.azureAD.enabled`.",
		}, {
			name: "auth.auth0.clientId", env: []string{"AUTH_AUTH0_CLIENT_ID"}, status: notYet,
			field: func(c *Config) any { return &c.Auth.Auth0.ClientID },
			doc:   "Client id of the application registered at Auth0. Required if `auth.auth0.enabled` is true.",
			check: func(l *loader) { l.needs(l.Auth.Auth0.Enabled, "auth.auth0.enabled is true") },
		}, {
			name: "auth.auth0.domain", env: []string{"AUTH_AUTH0_DOMAIN"}, status: notYet,
			field: func(c *Config) any { return &c.Auth.Auth0.Domain },
			doc:   "Host name of the Auth0 tenant, such as `example.eu.auth0.com`. Required if `auth.auth0.enabled` is true.",
			check: func(l *loader) { l.needs(l.Auth.Auth0.Enabled, "auth.auth0.enabled is true") },
		}, {
			name: "api.maxStateSize", env: []string{"API_MAX_STATE_SIZE"}, def: "1GiB",
			field: func(c *Config) any { return &c.API.MaxStateSize },
			doc:   "Largest state document that the API accepts when a backup is restored.",
			check: func(l *loader) { l.positive(l.API.MaxStateSize) },
		}, {
			name: "cors.origins", env: []string{"CORS_ORIGINS"},
			field: func(c *Config) any { return &c.CORS.Origins },
			doc: "Origins of web pages that may call the API from a browser, such as `https://admin.example.org`. None by default; " +
				"`*` is not accepted: name each.",
			check: func(l *loader) {
				for i, s := range l.CORS.Origins {
					if o, err := origin(s); err != nil {
						l.faultItem(i, "%v", err)
					} else {
						l.CORS.Origins[i] = o
					}
				}
			},
		},
	}
}

// checkAuth requires one method of authentication that works in this version.
func checkAuth(l *loader) {
	a := l.Auth
	if a.AzureAD.Enabled && a.Auth0.Enabled {
		l.faultFor("auth.auth0.enabled", "cannot be true together with auth.azureAD.enabled: disable one")
	}
	if a.PSK.Enabled || l.failed["auth.psk.enabled"] || l.failed["auth.azureAD.enabled"] || l.failed["auth.auth0.enabled"] {
		return
	}
	const only = "is not supported by this version yet and is the only method of authentication, so nobody could manage the node: " +
		"set auth.psk.enabled and auth.psk.key"
	switch {
	case a.AzureAD.Enabled:
		l.faultFor("auth.azureAD.enabled", only)
	case a.Auth0.Enabled:
		l.faultFor("auth.auth0.enabled", only)
	default:
		l.fault("no method of authentication is enabled, so nobody could manage the node: set it to true and auth.psk.key to " +
			"a long random key; `statiko init` writes a configuration with both")
	}
}
