package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"statiko/api"
)

// connect returns a client that proves itself with the node's key. Which node it is, whether there is a key, and
// whether the node is trusted, is decided before; the key is not sent to a node that is not.
func (a *app) connect(ctx context.Context) (*api.Client, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	key, err := a.credentials(t)
	if err != nil {
		return nil, err
	}
	o, err := a.trusted(ctx, t)
	if err != nil {
		return nil, err
	}
	o.Token = key
	return a.client(o)
}

func (a *app) client(o api.Options) (*api.Client, error) {
	o.UserAgent = userAgent()
	c, err := api.New(o)
	if err != nil {
		return nil, userError("%v", err)
	}
	return c, nil
}

// credentials returns the key for the node: the stored one, else that of the environment.
func (a *app) credentials(t target) (string, error) {
	n, err := a.readNodes()
	if err != nil {
		return "", err
	}
	env := a.Getenv("NODE_KEY")
	key := n.get(t, memberKey)
	switch {
	case key != "" && env != "" && key != env:
		a.warn("NODE_KEY is not used: another key is stored for %s (stkcli auth psk stores a new one, auth forget removes it)", t.address())
	case key == "" && env == "":
		return "", userError("there is no key for the node %s", t.address()).
			withHint("store it with stkcli auth psk --node %s, or set NODE_KEY", t.address())
	case key == "":
		key = env
	}
	return key, nil
}

// trusted decides whether the node is trusted, and by what. In this order: not looked at all (--http,
// --insecure); the fingerprint that was given; the stored one; the system's roots; somebody at the terminal.
func (a *app) trusted(ctx context.Context, t target) (api.Options, error) {
	o := api.Options{Node: t.host, Port: t.port}
	given, err := a.givenPin()
	if err != nil {
		return o, err
	}
	if given != "" && (t.http || t.insecureFlag) {
		return o, userError("a fingerprint is given, but --http and --insecure do not look at it").
			withHint("give either one or the other")
	}
	switch {
	case t.http:
		a.warn("without TLS, everybody on the way to %s can read the node's key and change what is sent", t.address())
		o.HTTP = true
		return o, nil
	case given != "":
		o.Pin = given
		return o, nil
	case t.insecure:
		a.warn("the node's certificate is not checked; whoever answers at %s gets the node's key", t.address())
		o.Insecure = true
		return o, nil
	}
	n, err := a.readNodes()
	if err != nil {
		return o, err
	}
	if o.Pin = n.get(t, memberPin); o.Pin != "" {
		if o.Pin, err = api.ParsePin(o.Pin); err != nil {
			return o, localError(err, "the fingerprint stored for %s cannot be read", t.address()).withHint("repair %s", n.path)
		}
		return o, nil
	}
	peer, err := api.FetchPeer(ctx, t.host, t.port, nil)
	if err != nil {
		return o, a.nodeError(err, "reach the node")
	}
	if peer.Untrusted == nil {
		return o, nil
	}
	if !a.person() {
		return o, userError("the node %s is not known yet, and its certificate proves nothing (%v)", t.address(), plainReason(peer.Untrusted)).
			withHint("its key's fingerprint is %s. If that is what the node printed when it started, add\n      --fingerprint %s\n"+
				"      or set STKCLI_FINGERPRINT, or store it with stkcli trust", peer.Pin, peer.Pin)
	}
	a.showPeer(t, peer)
	yes, err := a.ask(ctx, "Trust it from now on?")
	if err != nil {
		return o, err
	}
	if !yes {
		return o, userError("the node %s is not trusted; nothing was sent to it", t.address())
	}
	o.Pin = peer.Pin
	return o, n.set(t, memberPin, peer.Pin)
}

// givenPin returns the fingerprint of the flag or the environment; "" if there is none.
func (a *app) givenPin() (string, error) {
	text, from := a.flags.fingerprint, "--fingerprint"
	if text == "" {
		text, from = a.Getenv("STKCLI_FINGERPRINT"), "STKCLI_FINGERPRINT"
	}
	if text == "" {
		return "", nil
	}
	pin, err := api.ParsePin(text)
	if err != nil {
		return "", userError("%s: %v", from, err)
	}
	return pin, nil
}

// plainReason shortens what the verification of a certificate says to what matters.
func plainReason(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "it is signed by nobody whom this machine knows"
	}
	return err.Error()
}

// showPeer shows a node's certificate to the person at the terminal.
func (a *app) showPeer(t target, peer *api.Peer) {
	c := peer.Certificate
	fmt.Fprintf(a.Stderr, "The node %s is not known yet, and its certificate proves nothing\n(%s).\n", t.address(), plainReason(peer.Untrusted))
	fmt.Fprintf(a.Stderr, "  Subject:      %s\n  Valid:        %s to %s\n  Fingerprint:  %s\n",
		c.Subject, c.NotBefore.Format("2006-01-02"), c.NotAfter.Format("2006-01-02"), peer.Pin)
	fmt.Fprintf(a.Stderr, "The node prints the fingerprint of its key when it starts: compare them.\n")
}

// changedKey makes the loud error for a node with another key than the known one.
func (a *app) changedKey(m *api.PinMismatchError) *failure {
	t, err := a.target()
	if err != nil {
		return &failure{code: ExitNode, message: err.Error()}
	}
	f := &failure{code: ExitNode, message: fmt.Sprintf("THE KEY OF THE NODE %s IS NOT THE KNOWN ONE. Nothing was sent to it.\n"+
		"  known:  %s\n  shown:  %s\n"+
		"Somebody may be between you and the node; or the node was set up anew.", t.address(), m.Want, m.Got)}
	return f.withHint("if the node itself prints the shown fingerprint when it starts, accept it with\n      stkcli trust --node %s --fingerprint %s", t.address(), m.Got)
}
