package config

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Names in object stores, as Amazon and Azure document them.
var (
	bucketName    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)
)

func stateKeys() []key {
	return []key{
		{
			name: "state.store", env: []string{"STATE_STORE"}, def: "file", choices: []choice{{value: "file"}, {value: "etcd"}},
			field: func(c *Config) any { return &c.State.Store },
			doc:   "Where the state is kept: `file` on a single node, `etcd` in a cluster.",
		}, {
			name: "state.file.path", env: []string{"STATE_FILE_PATH"}, def: "/etc/statiko/state.json", path: true,
			field: func(c *Config) any { return &c.State.File.Path },
			doc: "File that holds the state if `state.store` is `file`. Its folder must exist and be writable: a journal and " +
				"a lock file stand beside it.",
		}, {
			name: "state.etcd.address", env: []string{"STATE_ETCD_ADDRESS"},
			field: func(c *Config) any { return &c.State.Etcd.Address },
			doc: "Client URLs of etcd's members, such as `https://etcd-1:2379,https://etcd-2:2379`. Required if `state.store` is " +
				"`etcd`. Each node must reach them all; with `https` the connections use TLS.",
			check: func(l *loader) {
				l.needs(l.State.Store == "etcd", "state.store is etcd")
				for i, s := range l.State.Etcd.Address {
					if u, err := url.Parse(s); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
						l.faultItem(i, "must be a URL such as https://etcd-1:2379")
					}
				}
			},
		}, {
			name: "state.etcd.keyPrefix", env: []string{"STATE_ETCD_KEY_PREFIX"}, def: "/statiko",
			field: func(c *Config) any { return &c.State.Etcd.KeyPrefix },
			doc:   "Beginning of the names of all keys that Statiko uses in etcd. Clusters that share one etcd need different ones.",
			check: func(l *loader) {
				if l.State.Etcd.KeyPrefix = strings.TrimRight(l.State.Etcd.KeyPrefix, "/"); l.State.Etcd.KeyPrefix == "" {
					l.fault("must not be empty or the root: use a name such as /statiko")
				}
			},
		}, {
			name: "state.etcd.timeout", env: []string{"STATE_ETCD_TIMEOUT"}, def: "10000", unit: time.Millisecond,
			field: func(c *Config) any { return &c.State.Etcd.Timeout },
			doc:   "How long one request to etcd may take.",
			check: func(l *loader) { l.durations(l.State.Etcd.Timeout, 100*time.Millisecond, 10*time.Minute) },
		}, {
			name: "state.etcd.username", env: []string{"STATE_ETCD_USERNAME"},
			field: func(c *Config) any { return &c.State.Etcd.Username },
			doc:   "User name, if etcd asks for one.",
		}, {
			name: "state.etcd.password", env: []string{"STATE_ETCD_PASSWORD"}, secret: true,
			field: func(c *Config) any { return &c.State.Etcd.Password },
			doc:   "Password of `state.etcd.username`.",
			check: func(l *loader) {
				if l.State.Etcd.Password != "" && l.State.Etcd.Username == "" {
					l.fault("is set without state.etcd.username")
				}
			},
		}, {
			name: "state.etcd.tlsConfiguration.ca", env: []string{"STATE_ETCD_TLS_CA"}, path: true,
			field: func(c *Config) any { return &c.State.Etcd.TLS.CA },
			doc:   "File with the certificates of the authority that signed etcd's. Without it the machine's own list counts.",
		}, {
			name: "state.etcd.tlsConfiguration.clientCertificate", env: []string{"STATE_ETCD_TLS_CLIENT_CERTIFICATE"}, path: true,
			field: func(c *Config) any { return &c.State.Etcd.TLS.ClientCertificate },
			doc:   "File with the certificate by which this node proves itself to etcd.",
			check: func(l *loader) {
				if e := l.State.Etcd.TLS; (e.ClientCertificate == "") != (e.ClientKey == "") {
					l.fault("and state.etcd.tlsConfiguration.clientKey must be set together")
				}
			},
		}, {
			name: "state.etcd.tlsConfiguration.clientKey", env: []string{"STATE_ETCD_TLS_CLIENT_KEY"}, path: true,
			field: func(c *Config) any { return &c.State.Etcd.TLS.ClientKey },
			doc:   "File with the private key of the client certificate.",
		}, {
			name: "state.etcd.tlsSkipVerify", env: []string{"STATE_ETCD_TLS_SKIP_VERIFY"}, def: "false",
			field: func(c *Config) any { return &c.State.Etcd.TLSSkipVerify },
			doc:   "Accepts any certificate from etcd. Only for tests: whoever stands between can read and change the state.",
		}, {
			name: "store.compareEvery", env: []string{"STORE_COMPARE_EVERY"}, def: "10m",
			field: func(c *Config) any { return &c.Store.CompareEvery },
			doc:   "How often a node compares what it knows with what etcd holds, besides being told of each change.",
			check: func(l *loader) { l.durations(l.Store.CompareEvery, time.Second, 24*time.Hour) },
		},
	}
}

func bundleKeys() []key {
	return []key{
		{
			name: "repo.type", env: []string{"REPO_TYPE"},
			required: "it says where app bundles are kept; use local, with repo.local.path",
			choices: []choice{{value: "local", also: []string{"file"}}, {value: "s3", also: []string{"minio"}},
				{value: "azure", also: []string{"azureblob"}}},
			field: func(c *Config) any { return &c.Repo.Type },
			doc: "Where app bundles are kept: `local` (also `file`) in a folder, `s3` (also `minio`) in a bucket, `azure` (also " +
				"`azureblob`) in Azure Storage. Required. See docs/repositories.md.",
		}, {
			name: "repo.local.path", env: []string{"REPO_LOCAL_PATH"}, path: true,
			field: func(c *Config) any { return &c.Repo.Local.Path },
			doc: "Folder that holds the bundles if `repo.type` is `local`, and required then. It is made if it is missing; its " +
				"parent must exist. Each node of a cluster has a folder of its own, and they copy bundles from each other.",
			check: func(l *loader) { l.needs(l.Repo.Type == "local", "repo.type is local") },
		}, {
			name: "repo.s3.accessKeyId", env: []string{"REPO_S3_ACCESS_KEY_ID"},
			field: func(c *Config) any { return &c.Repo.S3.AccessKeyID },
			doc:   "Access key id for the bucket. Required if `repo.type` is `s3`.",
			check: func(l *loader) { l.needs(l.Repo.Type == "s3", "repo.type is s3") },
		}, {
			name: "repo.s3.secretAccessKey", env: []string{"REPO_S3_SECRET_ACCESS_KEY"}, secret: true,
			field: func(c *Config) any { return &c.Repo.S3.SecretAccessKey },
			doc:   "Secret access key for the bucket. Required if `repo.type` is `s3`.",
			check: func(l *loader) { l.needs(l.Repo.Type == "s3", "repo.type is s3") },
		}, {
			name: "repo.s3.bucket", env: []string{"REPO_S3_BUCKET"},
			field: func(c *Config) any { return &c.Repo.S3.Bucket },
			doc:   "Name of the bucket, which must exist. Required if `repo.type` is `s3`.",
			check: func(l *loader) {
				l.needs(l.Repo.Type == "s3", "repo.type is s3")
				if b := l.Repo.S3.Bucket; b != "" && !bucketName.MatchString(b) {
					l.fault("must be 3 to 63 lower-case letters, digits, dots and hyphens, not %s", l.key.show(b))
				}
			},
		}, {
			name: "repo.s3.endpoint", env: []string{"REPO_S3_ENDPOINT"}, def: "s3.amazonaws.com",
			field: func(c *Config) any { return &c.Repo.S3.Endpoint },
			doc: "Host, with an optional port, of a server that speaks the S3 protocol. Buckets of Amazon are asked for by host " +
				"name, those of other servers by path.",
			check: func(l *loader) {
				if _, err := hostMaybePort(l.Repo.S3.Endpoint); err != nil {
					l.fault("must be a host with an optional port and no scheme, such as s3.amazonaws.com, not %s", l.key.show(l.Repo.S3.Endpoint))
				}
			},
		}, {
			name: "repo.s3.region", env: []string{"REPO_S3_REGION"}, defText: "asked from the server",
			field: func(c *Config) any { return &c.Repo.S3.Region },
			doc: "Region of the bucket, such as `eu-central-1`. Without it the server is asked, which needs the permission " +
				"`s3:GetBucketLocation`.",
		}, {
			name: "repo.s3.noTLS", env: []string{"REPO_S3_NO_TLS"}, def: "false",
			field: func(c *Config) any { return &c.Repo.S3.NoTLS },
			doc: "Talks to the endpoint without TLS. The secret key does not cross the network then, but the bundles do, readable " +
				"by everybody between.",
		}, {
			name: "repo.azure.account", aliases: []string{"azure.storage.account"}, env: []string{"REPO_AZURE_ACCOUNT", "AZURE_STORAGE_ACCOUNT"},
			field: func(c *Config) any { return &c.Repo.Azure.Account },
			doc:   "Name of the Azure Storage account. Required if `repo.type` is `azure`.",
			check: func(l *loader) {
				l.needs(l.Repo.Type == "azure", "repo.type is azure")
				if a := l.Repo.Azure.Account; a != "" && !accountName.MatchString(a) {
					l.fault("must be 3 to 24 lower-case letters and digits, not %s", l.key.show(a))
				}
			},
		}, {
			name: "repo.azure.container", aliases: []string{"azure.storage.appsContainer"},
			env: []string{"REPO_AZURE_CONTAINER", "AZURE_STORAGE_APPS_CONTAINER"}, def: "apps",
			field: func(c *Config) any { return &c.Repo.Azure.Container },
			doc:   "Name of the container in the Azure Storage account. It must exist.",
			check: func(l *loader) {
				if c := l.Repo.Azure.Container; !containerName.MatchString(c) {
					l.fault("must be 3 to 63 lower-case letters, digits and hyphens, not %s", l.key.show(c))
				}
			},
		}, {
			name: "repo.azure.accessKey", env: []string{"REPO_AZURE_ACCESS_KEY"}, secret: true,
			field: func(c *Config) any { return &c.Repo.Azure.AccessKey },
			doc:   "Access key of the Azure Storage account. Without it the service principal under `azure` is used.",
			check: func(l *loader) {
				if _, err := base64.StdEncoding.DecodeString(l.Repo.Azure.AccessKey); err != nil {
					l.fault("must be in base64, as Azure shows it")
				}
			},
		}, {
			name: "repo.azure.endpoint", env: []string{"REPO_AZURE_ENDPOINT"}, defText: "`https://<account>.blob.core.windows.net`",
			field: func(c *Config) any { return &c.Repo.Azure.Endpoint },
			doc: "URL of the account's Blob Storage, where that is not the public cloud: that of another cloud, or of an emulator " +
				"such as `http://127.0.0.1:10000/devstoreaccount1`. A service principal needs `https`.",
			check: func(l *loader) {
				e := l.Repo.Azure.Endpoint
				if e == "" {
					return
				}
				u, err := url.Parse(e)
				switch {
				case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.RawQuery != "" || u.Fragment != "":
					l.fault("must be a URL that begins with https:// or http://, without user, query and fragment")
				case u.Scheme == "http" && l.Repo.Type == "azure" && l.Repo.Azure.AccessKey == "":
					l.fault("must begin with https:// if a service principal is used, as its tokens must not be read on the way")
				}
			},
		}, {
			name: "repo.keepVersions", env: []string{"REPO_KEEP_VERSIONS"}, def: "5",
			field: func(c *Config) any { return &c.Repo.KeepVersions },
			doc: "How many versions of a site are kept, with the one that it serves, so that `stkcli deploy --rollback` can go back to " +
				"them at once. Their bundles cannot be removed meanwhile.",
			check: func(l *loader) { l.between(l.Repo.KeepVersions, 1, 50) },
		}, {
			name: "repo.replicas", env: []string{"REPO_REPLICAS"}, def: "2",
			field: func(c *Config) any { return &c.Repo.Replicas },
			doc: "On how many nodes of a cluster a bundle is stored before an upload is acknowledged as safe, with `repo.type: local`. " +
				"All others fetch it right after.",
			check: func(l *loader) { l.between(l.Repo.Replicas, 1, 1000) },
		}, {
			name: "repo.strictReplicas", env: []string{"REPO_STRICT_REPLICAS"}, def: "false",
			field: func(c *Config) any { return &c.Repo.StrictReplicas },
			doc:   "Refuses an upload if fewer than `repo.replicas` nodes can store it, instead of storing it on those that can.",
		}, {
			name: "bundle.maxUploadSize", env: []string{"BUNDLE_MAX_UPLOAD_SIZE"}, def: "4GiB",
			field: func(c *Config) any { return &c.Bundle.MaxUploadSize },
			doc:   "Largest archive that may be uploaded.",
			check: func(l *loader) { l.positive(l.Bundle.MaxUploadSize) },
		}, {
			name: "bundle.maxUnpackedSize", env: []string{"BUNDLE_MAX_UNPACKED_SIZE"}, def: "16GiB",
			field: func(c *Config) any { return &c.Bundle.MaxUnpackedSize },
			doc:   "Largest total size of the files in one archive, unpacked.",
			check: func(l *loader) { l.positive(l.Bundle.MaxUnpackedSize) },
		}, {
			name: "bundle.maxFiles", env: []string{"BUNDLE_MAX_FILES"}, def: "200000",
			field: func(c *Config) any { return &c.Bundle.MaxFiles },
			doc:   "Largest number of files and folders in one archive.",
			check: func(l *loader) { l.between(l.Bundle.MaxFiles, 1, 100_000_000) },
		}, {
			name: "bundle.maxRatio", env: []string{"BUNDLE_MAX_RATIO"}, def: "200",
			field: func(c *Config) any { return &c.Bundle.MaxRatio },
			doc: "How many bytes one byte of an archive may unpack to, over the whole archive. It stops archives made to fill the " +
				"disk, which unpack a thousandfold and more; text packs about 5 to 1, rarely 50 to 1. Raise it only for bundles " +
				"that hold large files of repeated bytes.",
			check: func(l *loader) { l.between(l.Bundle.MaxRatio, 1, 1_000_000) },
		}, {
			name: "codesign.required", aliases: []string{"disallowUnsignedApps"}, env: []string{"CODESIGN_REQUIRED"}, def: "false",
			field: func(c *Config) any { return &c.Codesign.Required },
			doc: "Refuses to deploy bundles without a valid signature by a key in `codesign.publicKey`. Set it on every node: each one " +
				"verifies by itself.",
		}, {
			name: "codesign.publicKey", env: []string{"CODESIGN_PUBLIC_KEY"}, multiline: true,
			field: func(c *Config) any { return &c.Codesign.PublicKey },
			doc: "Public keys whose signatures bundles may carry, RSA (2048 to 6144 bits) or Ed25519: PEM, or the path of a PEM file. " +
				"Several, one after the other, are for changing keys. With a key, a signature that none of the keys made is refused even " +
				"if none is required. Required if `codesign.required` is true.",
			check: func(l *loader) { l.needs(l.Codesign.Required, "codesign.required is true") },
		}, {
			name: "manifest.allowProxy", env: []string{"MANIFEST_ALLOW_PROXY"},
			field: func(c *Config) any { return &c.Manifest.AllowProxy },
			doc: "Hosts that the manifests of apps may pass requests on to: a host, for all its ports, or `host:port`. None by " +
				"default. Loopback and link-local addresses are reachable only if named here.",
			check: func(l *loader) {
				for i, s := range l.Manifest.AllowProxy {
					if h, err := hostMaybePort(s); err != nil {
						l.faultItem(i, "must be a host or host:port without a scheme or path, such as backend.example.org:8080")
					} else {
						l.Manifest.AllowProxy[i] = h
					}
				}
			},
		},
	}
}
