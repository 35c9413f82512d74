package etcdclient

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"statiko/test/etcdtest"
	"statiko/test/programs"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for timeouts and leases much more than they work.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

// get makes one request.
func get(t *testing.T, c *Client) error {
	t.Helper()
	etcd, err := c.Etcd()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), c.Timeout())
	defer cancel()
	_, err = etcd.Get(ctx, "k")
	return err
}

func TestOpen_OptionsThatCanNeverWork(t *testing.T) {
	files, authority := etcdtest.NewTLS(t)
	empty := t.TempDir() + "/empty"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for hazard, c := range map[string]struct {
		o    Options
		want string
	}{
		"no address":         {Options{}, "no address"},
		"another scheme":     {Options{Endpoints: []string{"ftp://a:1"}}, "neither http:// nor https://"},
		"mixed":              {Options{Endpoints: []string{"http://a:1", "https://b:1"}}, "mix"},
		"TLS without https":  {Options{Endpoints: []string{"http://a:1"}, CA: authority.File}, "http://"},
		"no authority":       {Options{Endpoints: []string{"https://a:1"}, CA: "/missing"}, "/missing"},
		"empty authority":    {Options{Endpoints: []string{"https://a:1"}, CA: empty}, "no certificate in PEM"},
		"half a pair":        {Options{Endpoints: []string{"https://a:1"}, ClientCertificate: files.Client.Certificate}, "both"},
		"key of another":     {Options{Endpoints: []string{"https://a:1"}, ClientCertificate: files.Client.Certificate, ClientKey: files.Server.Key}, "client certificate"},
		"no key":             {Options{Endpoints: []string{"https://a:1"}, ClientCertificate: files.Client.Certificate, ClientKey: "/missing"}, "/missing"},
		"certificate is not": {Options{Endpoints: []string{"https://a:1"}, ClientCertificate: empty, ClientKey: empty}, "client certificate"},
	} {
		_, err := Open(c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", hazard, err, c.want)
		}
	}
}

// hanging listens and never answers.
func hanging(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestProbe_SaysWhichEndpointFailsAndWhy(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	good := c.Endpoints()[0]
	dead, hangs := "http://127.0.0.1:1", "http://"+hanging(t)
	failed := Probe(t.Context(), Options{Endpoints: []string{good, dead, hangs, "http://no-such-host.invalid:2379"}, Timeout: 2 * time.Second})
	for endpoint, want := range map[string]string{dead: "connection refused", hangs: "does not answer", "http://no-such-host.invalid:2379": "no-such-host.invalid"} {
		if err := failed[endpoint]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", endpoint, err, want)
		}
	}
	if err, ok := failed[good]; ok || len(failed) != 3 {
		t.Errorf("the good one: %v; in all %v", err, failed)
	}
	// Without a scheme, http is meant.
	if failed := Probe(t.Context(), Options{Endpoints: []string{strings.TrimPrefix(good, "http://")}}); len(failed) != 0 {
		t.Errorf("without a scheme: %v", failed)
	}
	// https where etcd speaks http.
	secure := strings.Replace(good, "http://", "https://", 1)
	if err := Probe(t.Context(), Options{Endpoints: []string{secure}, SkipVerify: true})[secure]; err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("https to http: %v", err)
	}
}

func TestProbe_AMemberWithoutALeader(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{Members: 3})
	c.Member(1).Kill()
	c.Member(2).Kill()
	failed := Probe(t.Context(), Options{Endpoints: c.Endpoints(), Timeout: 2 * time.Second})
	if err := failed[c.Endpoints()[0]]; err == nil || !strings.Contains(err.Error(), "leader") {
		t.Errorf("the member that is left: %v", err)
	}
	for _, e := range c.Endpoints()[1:] {
		if err := failed[e]; err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v", e, err)
		}
	}
}

func TestTLS_WhoIsTrusted(t *testing.T) {
	t.Parallel()
	files, authority := etcdtest.NewTLS(t)
	c := etcdtest.Start(t, etcdtest.Options{TLS: files})
	stranger := etcdtest.NewAuthority(t)
	later := time.Now().Add(time.Hour)
	expired, foreign := authority.Issue(t, time.Now().Add(-time.Hour)), stranger.Issue(t, later)
	good := Options{Endpoints: c.Endpoints(), CA: authority.File, ClientCertificate: files.Client.Certificate, ClientKey: files.Client.Key}
	for hazard, k := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"all is well":                    {func(*Options) {}, ""},
		"not verified":                   {func(o *Options) { o.CA, o.SkipVerify = "", true }, ""},
		"wrong authority":                {func(o *Options) { o.CA = stranger.File }, "unknown authority"},
		"the system's authorities":       {func(o *Options) { o.CA = "" }, "unknown authority"},
		"another name":                   {func(o *Options) { o.Endpoints = []string{strings.Replace(o.Endpoints[0], "127.0.0.1", "localhost", 1)} }, "localhost"},
		"no client certificate":          {func(o *Options) { o.ClientCertificate, o.ClientKey = "", "" }, "certificate required"},
		"expired client certificate":     {func(o *Options) { o.ClientCertificate, o.ClientKey = expired.Certificate, expired.Key }, "certificate"},
		"client certificate of stranger": {func(o *Options) { o.ClientCertificate, o.ClientKey = foreign.Certificate, foreign.Key }, "certificate"},
		"http": {func(o *Options) {
			*o = Options{Endpoints: []string{strings.Replace(o.Endpoints[0], "https", "http", 1)}}
		}, "speaks https"},
	} {
		t.Run(hazard, func(t *testing.T) {
			t.Parallel()
			o := good
			o.Timeout = 2 * time.Second
			k.change(&o)
			err := Probe(t.Context(), o)[o.Endpoints[0]]
			if (err == nil) != (k.want == "") || err != nil && !strings.Contains(err.Error(), k.want) {
				t.Errorf("probing says %v, want %q", err, k.want)
			}
			if requested := get(t, open(t, o)); (requested == nil) != (k.want == "") {
				t.Errorf("a request: %v", requested)
			}
		})
	}
}

func TestTLS_ExpiredServerCertificateAndAChangedAuthority(t *testing.T) {
	t.Parallel()
	files, authority := etcdtest.NewTLS(t)
	files.Server = authority.Issue(t, time.Now().Add(time.Hour))
	c := etcdtest.Start(t, etcdtest.Options{TLS: files})
	m := c.Member(0)
	o := Options{Endpoints: c.Endpoints(), CA: authority.File, ClientCertificate: files.Client.Certificate, ClientKey: files.Client.Key, Timeout: 2 * time.Second}
	client := open(t, o)
	if err := get(t, client); err != nil {
		t.Fatal(err)
	}
	authority.Renew(t, files.Server, time.Now().Add(-time.Hour))
	m.Kill()
	m.Restart(t)
	c.AwaitReady(t)
	if err := get(t, client); err == nil {
		t.Fatal("an expired certificate of the server is accepted")
	}
	if err := Probe(t.Context(), o)[o.Endpoints[0]]; err == nil || !strings.Contains(err.Error(), "expired") {
		t.Fatalf("probing says %v", err)
	}
	// Another authority signs the server's certificate; the file with the authority follows, without a new client.
	next := etcdtest.NewAuthority(t)
	next.Renew(t, files.Server, time.Now().Add(time.Hour))
	data, err := os.ReadFile(next.File)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(authority.File, append(data, old...), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Restart(t)
	c.AwaitReady(t)
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := get(t, client)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with the new authority: %v", err)
		}
	}
}

func TestConnections_CountsThoseThatAnswer(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	p := c.Member(0).Proxy(t)
	client := open(t, Options{Endpoints: []string{p.Endpoint(), "http://" + hanging(t)}})
	if n := client.Connections(); n != 0 {
		t.Fatalf("%d connections before the first request", n)
	}
	for want := int64(1); want <= 3; want++ {
		if err := get(t, client); err != nil {
			t.Fatal(err)
		}
		if n := client.Connections(); n != want {
			t.Fatalf("%d connections, want %d", n, want)
		}
		p.Drop()
		deadline := time.Now().Add(10 * time.Second)
		for client.Connections() == want && get(t, client) != nil && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// Connections of a quiet client stay, also those on which nobody watches: etcd takes keepalives that come too often, or
// without a stream, for abuse, and closes the connection ("too_many_pings").
func TestConnections_OfAQuietClientStay(t *testing.T) {
	t.Parallel()
	if os.Getenv("STATIKO_SOAK") != "1" {
		t.Skip("it takes a minute: STATIKO_SOAK=1 runs it")
	}
	c := etcdtest.Start(t, etcdtest.Options{Members: 3})
	var endpoints []string
	var proxies []*programs.Proxy
	for _, m := range c.Members() {
		p := m.Proxy(t)
		proxies, endpoints = append(proxies, p), append(endpoints, p.Endpoint())
	}
	client := open(t, Options{Endpoints: endpoints})
	raw, err := client.Etcd()
	if err != nil {
		t.Fatal(err)
	}
	watch := raw.Watch(t.Context(), "quiet")
	accepted := func() (n int) {
		for _, p := range proxies {
			n += p.Accepted()
		}
		return n
	}
	for deadline := time.Now().Add(10 * time.Second); accepted() < 3 && time.Now().Before(deadline); {
		if err := get(t, client); err != nil {
			t.Fatal(err)
		}
	}
	before := accepted()
	// Longer than etcd's patience: it bears three keepalives.
	select {
	case e, ok := <-watch:
		t.Fatalf("the watch has %+v, %t", e, ok)
	case <-time.After(5 * keepAliveTime):
	}
	if n := accepted(); n != before {
		t.Errorf("%d connections were made, and %d while nobody asked for anything", before, n-before)
	}
}

func TestClient_ClosedSaysSo(t *testing.T) {
	t.Parallel()
	c := open(t, Options{Endpoints: []string{"127.0.0.1:1"}})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Etcd(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Fatalf("got %v", err)
	}
	if c.Timeout() != 3*time.Second {
		t.Fatal(c.Timeout())
	}
}

func TestPlain_TakesTheWordsOfGRPCOff(t *testing.T) {
	plain := errors.New("plain")
	if Plain(plain) != plain {
		t.Error("an error that is none of gRPC's is changed")
	}
	c := open(t, Options{Endpoints: []string{"127.0.0.1:1"}, Timeout: 500 * time.Millisecond})
	err := get(t, c)
	if text := Plain(err).Error(); strings.Contains(text, "rpc error") || !errors.Is(Plain(err), err) {
		t.Errorf("%v became %s", err, text)
	}
}
