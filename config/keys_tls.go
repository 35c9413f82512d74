package config

import "strings"

func tlsKeys() []key {
	return []key{
		{
			name: "tls.node.enabled", env: []string{"TLS_NODE_ENABLED"}, def: "true",
			field: func(c *Config) any { return &c.TLS.Node.Enabled },
			doc: "Serves the API over TLS. Without it, keys and certificates cross the network readable: only behind a proxy on " +
				"the same machine.",
		}, {
			name: "tls.node.certificate", env: []string{"TLS_NODE_CERTIFICATE"}, def: "/etc/statiko/node-public.crt", path: true,
			field: func(c *Config) any { return &c.TLS.Node.Certificate },
			doc: "File with the certificate of the API, PEM, followed by its intermediates. If neither this file nor the one of " +
				"`tls.node.key` exists, the node makes a self-signed pair and keeps it in `appRoot`.",
			check: func(l *loader) {
				cert, key := l.wasSet("tls.node.certificate"), l.wasSet("tls.node.key")
				if cert != key {
					l.fault("and tls.node.key must be set together")
				}
			},
		}, {
			name: "tls.node.key", env: []string{"TLS_NODE_KEY"}, def: "/etc/statiko/node-private.key", path: true,
			field: func(c *Config) any { return &c.TLS.Node.Key },
			doc:   "File with the private key of `tls.node.certificate`, PEM.",
		}, {
			name: "tls.node.acme", env: []string{"TLS_NODE_ACME"}, def: "false", status: notYet,
			field: func(c *Config) any { return &c.TLS.Node.ACME },
			doc:   "Gets the certificate of the API from the ACME server if no files are given.",
		}, {
			name: "tls.node.address", env: []string{"TLS_NODE_ADDRESS"}, defText: "the value of nodeName",
			field: func(c *Config) any { return &c.TLS.Node.Address },
			doc:   "Host name or IP address in the self-signed certificate of the API.",
			check: func(l *loader) {
				if l.TLS.Node.Address == "" {
					l.TLS.Node.Address = l.NodeName
				} else if host, err := bareHost(l.TLS.Node.Address); err != nil {
					l.fault("must be a host name or an IP address, not %s", l.key.show(l.TLS.Node.Address))
				} else {
					l.TLS.Node.Address = host
				}
			},
		}, {
			name: "tls.selfSigned.keyType", env: []string{"TLS_SELF_SIGNED_KEY_TYPE"}, def: "ecdsa",
			choices: []choice{{value: "ecdsa"}, {value: "rsa2048"}, {value: "rsa4096"}},
			field:   func(c *Config) any { return &c.TLS.SelfSigned.KeyType },
			doc: "Kind of key in self-signed certificates: `ecdsa` (P-256, made in under a millisecond), `rsa2048` or `rsa4096` " +
				"(seconds each) for very old clients.",
		}, {
			name: "tls.selfSigned.days", env: []string{"TLS_SELF_SIGNED_DAYS"}, def: "365",
			field: func(c *Config) any { return &c.TLS.SelfSigned.Days },
			doc:   "How many days a self-signed certificate is valid. It is renewed when a third of them is left.",
			check: func(l *loader) { l.between(l.TLS.SelfSigned.Days, 3, 3650) },
		}, {
			name: "tls.dhparams.bits", env: []string{"TLS_DHPARAMS_BITS"}, def: "4096",
			field: func(c *Config) any { return &c.TLS.DHParams.Bits },
			doc:   "Size of Diffie-Hellman parameters: 2048, 3072, 4096 or 8192; 1024 with `tls.dhparams.allowWeak`.",
			check: func(l *loader) {
				switch d := l.TLS.DHParams; d.Bits {
				case 2048, 3072, 4096, 8192:
				case 1024:
					if !d.AllowWeak {
						l.fault("1024 bits can be broken: use 2048, 3072, 4096 or 8192, or set tls.dhparams.allowWeak to true")
					}
				default:
					l.fault("must be 2048, 3072, 4096 or 8192, not %d", d.Bits)
				}
			},
		}, {
			name: "tls.dhparams.maxAge", env: []string{"TLS_DHPARAMS_MAX_AGE"}, def: "120",
			field: func(c *Config) any { return &c.TLS.DHParams.MaxAgeDays },
			doc:   "Age in days, 7 to 720, at which Diffie-Hellman parameters are replaced by new ones; 0 or a negative number: never.",
			check: func(l *loader) {
				d := &l.TLS.DHParams
				if d.MaxAgeDays <= 0 {
					d.MaxAgeDays = 0
				} else if d.MaxAgeDays < 7 || d.MaxAgeDays > 720 {
					l.fault("must be 7 to 720 days, or 0 for never, not %d", d.MaxAgeDays)
				}
			},
		}, {
			name: "tls.dhparams.allowWeak", env: []string{"TLS_DHPARAMS_ALLOW_WEAK"}, def: "false",
			field: func(c *Config) any { return &c.TLS.DHParams.AllowWeak },
			doc:   "Allows Diffie-Hellman parameters of 1024 bits, which can be broken.",
		}, {
			name: "tls.dhparams.generate", env: []string{"TLS_DHPARAMS_GENERATE"}, def: "always",
			choices: []choice{{value: "always"}, {value: "auto"}, {value: "never"}},
			field:   func(c *Config) any { return &c.TLS.DHParams.Generate },
			doc: "When the leader makes Diffie-Hellman parameters of the cluster's own instead of the published ones of RFC 7919: " +
				"`always`, `auto` (only while a node runs nginx, as nothing else uses them) or `never`.",
		}, {
			name: "acme.endpoint", env: []string{"ACME_ENDPOINT"}, def: "https://acme-v02.api.letsencrypt.org/directory", status: notYet,
			field: func(c *Config) any { return &c.ACME.Endpoint },
			doc:   "Directory of the ACME server from which certificates are ordered.",
			check: func(l *loader) { l.url(l.ACME.Endpoint) },
		}, {
			name: "acme.email", env: []string{"ACME_EMAIL"}, status: notYet,
			field: func(c *Config) any { return &c.ACME.Email },
			doc:   "Address that the ACME server writes to if something is wrong with a certificate. Needed for ACME.",
			check: func(l *loader) {
				if at := strings.IndexByte(l.ACME.Email, '@'); l.ACME.Email != "" && (at < 1 || at == len(l.ACME.Email)-1) {
					l.fault("must be an e-mail address, not %s", l.key.show(l.ACME.Email))
				}
			},
		}, {
			name: "certs.azureKeyVault.name", aliases: []string{"azure.keyVault.name"},
			env: []string{"CERTS_AZURE_KEYVAULT_NAME", "AZURE_KEYVAULT_NAME"}, status: notYet,
			field: func(c *Config) any { return &c.Certs.AzureKeyVault.Name },
			doc:   "Name of the Azure Key Vault from which sites take certificates.",
		}, {
			name: "azure.tenantId", aliases: []string{"azure.sp.tenantId"}, env: []string{"AZURE_TENANT_ID"},
			field: func(c *Config) any { return &c.Azure.TenantID },
			doc:   "Tenant of the service principal that is used for Azure Storage if there is no access key. Required then.",
			check: func(l *loader) { l.needs(l.needsPrincipal(), "repo.type is azure and repo.azure.accessKey is not set") },
		}, {
			name: "azure.clientId", aliases: []string{"azure.sp.clientId"}, env: []string{"AZURE_CLIENT_ID"},
			field: func(c *Config) any { return &c.Azure.ClientID },
			doc:   "Client id of the service principal. Required as the tenant is.",
			check: func(l *loader) { l.needs(l.needsPrincipal(), "repo.type is azure and repo.azure.accessKey is not set") },
		}, {
			name: "azure.clientSecret", aliases: []string{"azure.sp.clientSecret"}, env: []string{"AZURE_CLIENT_SECRET"}, secret: true,
			field: func(c *Config) any { return &c.Azure.ClientSecret },
			doc:   "Client secret of the service principal. Required as the tenant is.",
			check: func(l *loader) { l.needs(l.needsPrincipal(), "repo.type is azure and repo.azure.accessKey is not set") },
		}, {
			name: "azure.keyVault.codesignKey.name", env: []string{"AZURE_KEYVAULT_CODESIGNKEY_NAME"}, status: notYet,
			field: func(c *Config) any { return &c.Azure.CodesignKeyName },
			doc:   "Name of a code-signing key in Azure Key Vault. Nodes take the key from `codesign.publicKey` instead.",
		},
	}
}

// needsPrincipal tells whether Azure Storage is used in the name of a service principal.
func (l *loader) needsPrincipal() bool { return l.Repo.Type == "azure" && l.Repo.Azure.AccessKey == "" }
