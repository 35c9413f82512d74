package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"go.uber.org/zap"

	"statiko/api"
	"statiko/bundle"
	"statiko/cluster"
	"statiko/dhparams"
	"statiko/leader"
	"statiko/reconcile"
	"statiko/secret"
	"statiko/state"
	"statiko/webserver"
)

// Reconciler is what the API asks of [reconcile.Reconciler].
type Reconciler interface {
	// Status tells how far the node has applied the state.
	Status() reconcile.Status
	// Site tells how one site is, by its primary domain.
	Site(domain string) reconcile.SiteStatus
	// Sync has everything looked at again. It does not block.
	Sync()
	// Wait returns nil once the revision is applied: for the one site or, if domain is "", for everything.
	Wait(ctx context.Context, revision int64, domain string) error
}

// Library is what the API asks of [bundle.Library].
type Library interface {
	// Spool streams an upload to disk. The error is ErrTooLarge if it has too many bytes.
	Spool(ctx context.Context, r io.Reader) (*bundle.Spool, error)
	// Add stores a bundle. The same content again is no error; other content under a taken name is ErrExists, and
	// an archive, type, hash or signature that is none is ErrInvalid.
	Add(ctx context.Context, spool *bundle.Spool, name, typ, signature, hash string) (bundle.Added, error)
	// SetMetadata replaces a bundle's signature and checks its hash.
	SetMetadata(ctx context.Context, name, signature, hash string) (int64, error)
	// Remove removes a bundle that no site uses.
	Remove(ctx context.Context, name string) (int64, error)
	// Pending tells whether a bundle cannot be deployed before its signature comes.
	Pending(app *state.App) bool
	// Fetch makes sure that this node has a bundle's archive, and opens it.
	Fetch(ctx context.Context, app *state.App) (*os.File, error)
	// Archive opens this node's archive of a bundle; [bundle.ErrNotFound] if it has none with this digest.
	Archive(ctx context.Context, name, sha256 string) (*os.File, error)
	// Accept fetches a bundle that another node offers.
	Accept(ctx context.Context, node string, app *state.App) error
	// Holdings tells how much of each bundle this node has.
	Holdings(ctx context.Context) (map[string]bundle.Holding, error)
	// Notes tells what happened to bundles within the last day.
	Notes() []bundle.Note
	// CheckDeploy tells whether a bundle can be served; what is wrong with it is ErrInvalid, and ErrUnavailable that its
	// archive cannot be had now.
	CheckDeploy(ctx context.Context, app *state.App) error
}

// Options are what a Server works with.
type Options struct {
	Store      state.Store
	Keyring    *secret.Keyring
	Reconciler Reconciler
	Library    Library
	// WebServer says whether sites are being served.
	WebServer func() webserver.Status
	// NodeName is this node's name, sent in every answer; never empty.
	NodeName string

	// Health tells how sites are; nil means that they are as the Reconciler applied them.
	Health Health
	// Cluster knows the other nodes; nil means that there are none.
	Cluster cluster.Group
	// Leader returns the name of the node that leads, or false if nobody is known to; nil means nobody.
	Leader func() (string, bool)
	// LeaderState tells more of who leads; nil means that Leader is all that is known.
	LeaderState func() leader.LeaderState
	// StepDown has the node that leads hand over, as [leader.Etcd.StepDown]; nil means that there is nobody else.
	StepDown func(ctx context.Context, to string) error
	// Ready says why the node is not ready although it serves what it knew at its start; nil, or a nil error, means
	// that it is.
	Ready func() error
	// Certificate tells of the node's own certificate; nil, or a nil result, means that there is none.
	Certificate func() *api.NodeCertificate
	// Generating tells whether this node is making Diffie-Hellman parameters, and how far that has come; nil means
	// never.
	Generating func() (dhparams.Progress, bool)
	// Version is this program's version, for people.
	Version string
	// PSK is the pre-shared key that callers prove to know; "" means that this method is off. Without any method,
	// every route that asks for authentication refuses everybody.
	PSK string
	// CORSOrigins are the origins, such as "https://manage.example.org", whose scripts may call the API.
	CORSOrigins []string
	// KeepVersions is how many versions of a site its history has; 0 means 5.
	KeepVersions int
	// TemporaryDomain is what generated names of temporary sites end in; "" means that there are none.
	TemporaryDomain string
	// MaxStateSize bounds a state document that is sent, in bytes; 0 means 256 MiB.
	MaxStateSize int64
	// MaxUpload bounds an uploaded archive, in bytes; 0 means 2 GiB.
	MaxUpload int64
	// AllowWeakDH accepts Diffie-Hellman parameters under 2048 bits.
	AllowWeakDH bool
	// DHBits is the size of the built-in Diffie-Hellman group that is used without others; 0 means 2048.
	DHBits int
	// Log may be nil.
	Log *zap.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Server answers requests to the API. Its methods are safe for concurrent use.
type Server struct {
	Options
	// psk is the SHA-256 of Options.PSK, which is not kept; hasPSK tells whether there was one.
	psk       [sha256.Size]byte
	hasPSK    bool
	attempts  *attempts
	started   time.Time
	builtinDH *dhparams.Params
	// checkingDH has one slot, for whoever tests Diffie-Hellman parameters.
	checkingDH chan struct{}
	private    http.Handler
	public     http.Handler
	// accepter is nil if the store has no such power.
	accepter accepter
	drain    *draining
	// serving ends all waiting when it ends.
	serving  context.Context
	endWaits context.CancelFunc
}

// Defaults of limits; see [Options].
const (
	defaultMaxStateSize = 256 << 20
	defaultMaxUpload    = 2 << 30
	defaultDHBits       = 2048
	defaultKeepVersions = 5
)

// New checks the options and returns a Server. It opens and starts nothing.
func New(o Options) (*Server, error) {
	switch {
	case o.Store == nil || o.Keyring == nil || o.Reconciler == nil || o.Library == nil || o.WebServer == nil:
		return nil, errors.New("server: a store, keyring, reconciler, library and web server are required")
	case o.NodeName == "":
		return nil, errors.New("server: the node has no name")
	}
	if o.Health == nil {
		o.Health = appliedHealth{o.Reconciler}
	}
	if o.Leader == nil {
		o.Leader = func() (string, bool) { return "", false }
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Certificate == nil {
		o.Certificate = func() *api.NodeCertificate { return nil }
	}
	if o.Generating == nil {
		o.Generating = func() (dhparams.Progress, bool) { return dhparams.Progress{}, false }
	}
	if o.MaxStateSize <= 0 {
		o.MaxStateSize = defaultMaxStateSize
	}
	if o.MaxUpload <= 0 {
		o.MaxUpload = defaultMaxUpload
	}
	if o.KeepVersions <= 0 {
		o.KeepVersions = defaultKeepVersions
	}
	if o.DHBits <= 0 {
		o.DHBits = defaultDHBits
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{Options: o, psk: sha256.Sum256([]byte(o.PSK)), hasPSK: o.PSK != "", started: o.Now()}
	s.PSK = ""
	s.attempts, s.drain = newAttempts(o.Now), &draining{}
	s.accepter = accepterOf(o.Store)
	s.serving, s.endWaits = context.WithCancel(context.Background())
	if s.Cluster == nil {
		s.Cluster = cluster.Single(cluster.SingleOptions{Store: o.Store, NodeName: o.NodeName, Local: s.LocalStatus,
			Version: o.Version, Log: o.Log, Now: o.Now})
	}
	if s.LeaderState == nil {
		s.LeaderState = func() leader.LeaderState {
			name, _ := o.Leader()
			return leader.LeaderState{Name: name}
		}
	}
	s.builtinDH, s.checkingDH = dhparams.Builtin(o.DHBits), make(chan struct{}, 1)
	s.private = s.chain(routes(), true)
	s.public = s.chain(publicRoutes(), false)
	return s, nil
}

// Handler returns the whole API.
func (s *Server) Handler() http.Handler { return s.private }

// PublicHandler returns the routes that the default site of the web server offers to everybody: /status, /info,
// /healthz, /readyz and ACME challenges. Nobody is authenticated there, whatever is sent.
func (s *Server) PublicHandler() http.Handler { return s.public }

// EndWaits has all requests that wait for something answer at once with how things are. It is for the time before the
// HTTP server is shut down, which would wait for them (see [http.Server.RegisterOnShutdown]).
func (s *Server) EndWaits() { s.endWaits() }
