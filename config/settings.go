package config

import "time"

// Config is a complete, checked configuration. All values are final: defaults are filled in, names are in lower
// case where case does not matter, paths are cleaned. Fields named after secrets hold them in plain text.
type Config struct {
	// File is the file that was read; "" if there was none.
	File string

	NodeName string
	// Port is the API's; 0 means any free one. BindAddress is its host or IP address; "" means all, IPv4 and IPv6.
	Port               int
	BindAddress        string
	AppRoot            string
	ManifestFile       string
	DisallowLeadership bool
	// DrainDelay is for how long a node that stops goes on serving.
	DrainDelay               time.Duration
	SecretsEncryptionKey     string
	SecretsEncryptionOldKeys []string

	Auth           Auth
	API            API
	CORS           CORS
	State          State
	Store          Store
	Repo           Repo
	Bundle         Bundle
	Codesign       Codesign
	Manifest       Manifest
	WebServer      string // "builtin", "nginx" or "none"
	Web            Web
	Nginx          Nginx
	TLS            TLS
	ACME           ACME
	Certs          Certs
	Azure          Azure
	TemporarySites TemporarySites
	Cluster        Cluster
	Leader         Leader
	Notifications  Notifications
	Log            Log
}

// String names the configuration and shows none of its values, so that printing one by mistake leaks nothing.
func (c Config) String() string { return "configuration " + c.File }

// GoString is as String, for the verb %#v.
func (c Config) GoString() string { return c.String() }

// Auth says who may use the API.
type Auth struct {
	PSK struct {
		Enabled bool
		Key     string
	}
	AzureAD struct {
		Enabled            bool
		TenantID, ClientID string
	}
	Auth0 struct {
		Enabled          bool
		ClientID, Domain string
	}
}

// API limits the API.
type API struct {
	// MaxStateSize is the largest state document accepted, in bytes.
	MaxStateSize int64
}

// CORS lists the origins ("https://host[:port]") whose pages may call the API.
type CORS struct{ Origins []string }

// State says where the state is kept.
type State struct {
	Store string // "file" or "etcd"
	File  struct{ Path string }
	Etcd  Etcd
}

// Etcd says how etcd is reached.
type Etcd struct {
	// Address lists client URLs.
	Address []string
	// KeyPrefix has no slash at its end.
	KeyPrefix string
	// Timeout bounds one request.
	Timeout            time.Duration
	TLS                struct{ CA, ClientCertificate, ClientKey string }
	TLSSkipVerify      bool
	Username, Password string
}

// Store tunes the store.
type Store struct{ CompareEvery time.Duration }

// Repo says where bundles are kept.
type Repo struct {
	Type  string // "local", "s3" or "azure"
	Local struct{ Path string }
	S3    struct {
		AccessKeyID, SecretAccessKey, Bucket, Endpoint string
		Region                                         string // "" asks the server
		NoTLS                                          bool
	}
	// Azure.Endpoint is a URL; "" means that of the public cloud.
	Azure          struct{ Account, Container, AccessKey, Endpoint string }
	KeepVersions   int
	Replicas       int
	StrictReplicas bool
}

// Bundle limits bundles; sizes are in bytes.
type Bundle struct {
	MaxUploadSize   int64
	MaxUnpackedSize int64
	MaxFiles        int
	// MaxRatio is how many bytes one byte of an archive may unpack to.
	MaxRatio int
}

// Codesign says whose signature bundles carry. PublicKey is PEM, or the path of a PEM file.
type Codesign struct {
	Required  bool
	PublicKey string
}

// Manifest limits what manifests may ask for. AllowProxy holds hosts ("example.org", "10.0.0.1", "::1") and hosts
// with a port ("example.org:8080", "[::1]:80").
type Manifest struct{ AllowProxy []string }

// Web says where sites are served.
type Web struct {
	HTTPAddress, HTTPSAddress string
	// PublicHTTPSPort is the port that visitors see; 0 means the one that HTTPSAddress gets.
	PublicHTTPSPort int
}

// Nginx says how nginx is managed.
type Nginx struct {
	Mode       string // "managed" or "external"
	ConfigPath string
	User       string
	Commands   struct{ Start, Restart, Status, Test string }
}

// TLS configures certificates and key exchange.
type TLS struct {
	Node struct {
		Enabled          bool
		Certificate, Key string
		ACME             bool
		// Address is NodeName if it is not set.
		Address string
	}
	SelfSigned struct {
		KeyType string // "ecdsa", "rsa2048" or "rsa4096"
		// Days is how long a pair is valid.
		Days int
	}
	DHParams struct {
		Bits int
		// MaxAgeDays is the age at which parameters are replaced; 0 means never.
		MaxAgeDays int
		AllowWeak  bool
		Generate   string // "always", "auto" or "never"
	}
}

// ACME says where certificates are ordered. InsecureTLS is only ever set outside of production mode.
type ACME struct {
	Endpoint, Email string
	InsecureTLS     bool
}

// Certs says where else certificates come from.
type Certs struct{ AzureKeyVault struct{ Name string } }

// Azure holds the service principal.
type Azure struct {
	TenantID, ClientID, ClientSecret string
	CodesignKeyName                  string
}

// TemporarySites configures sites with generated names. Domain has no leading dot; "" switches them off. They are
// removed after TTL; 0 means never.
type TemporarySites struct {
	Domain string
	TTL    time.Duration
}

// Cluster says how nodes reach and forget each other.
type Cluster struct {
	Advertise   string
	ForgetAfter time.Duration
}

// Leader tunes the election.
type Leader struct{ LeaseTTL time.Duration }

// Notifications says how an administrator is told.
type Notifications struct {
	// Patience is for how long a site or node fails before that is told.
	Patience time.Duration
	Method   string // "off" or "webhook"
	Webhook  struct{ URL, PayloadKey string }
}

// Log configures logging.
type Log struct {
	Level  string // "debug", "info", "warn" or "error"
	Format string // "console", "json", or "" for console on a terminal and json elsewhere
}
