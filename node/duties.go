package node

import (
	"fmt"
	"slices"
	"time"

	"statiko/certs"
	"statiko/cluster"
	"statiko/dhparams"
	"statiko/health"
	"statiko/leader"
	"statiko/notify"
	"statiko/temporary"
)

const day = 24 * time.Hour

// makeDuties makes what whoever leads does, on any store.
func (n *Node) makeDuties(o Options) error {
	c := n.config
	certificates, err := certs.NewDuty(certs.DutyOptions{
		Store: n.store, Keyring: n.keyring, KeyType: c.TLS.SelfSigned.KeyType,
		Life: time.Duration(c.TLS.SelfSigned.Days) * day, Log: n.log.Named("certs"),
	})
	if err != nil {
		return err
	}
	expiry, err := certs.NewExpiryDuty(certs.ExpiryOptions{
		Store: n.store, Keyring: n.keyring, Node: c.NodeName, Log: n.log.Named("certs"),
	})
	if err != nil {
		return err
	}
	notices, err := n.makeNotices()
	if err != nil {
		return err
	}
	if n.dh, err = n.makeDH(o); err != nil {
		return err
	}
	sites, err := temporary.NewDuty(temporary.Options{Store: n.store, TTL: c.TemporarySites.TTL, Log: n.log.Named("temporary")})
	if err != nil {
		return err
	}
	n.duties = map[string]leader.Duty{
		"certificates": certificates.Run, "expiring certificates": expiry.Run,
		"notices": notices.Run, "DH parameters": n.dh.Run, "temporary sites": sites.Run,
	}
	return nil
}

// addHealthDuty adds the duty that asks the nodes of the group how they are.
func (n *Node) addHealthDuty() error {
	patience := n.config.Notifications.Patience
	watch, err := health.NewDuty(health.DutyOptions{
		Store: n.store, Nodes: n.group, Node: n.config.NodeName, Patience: patience, Every: min(time.Minute, patience/2),
		Log: n.log.Named("health"),
	})
	if err != nil {
		return err
	}
	n.duties["health"] = watch.Run
	return nil
}

// makeNotices makes the duty that tells an administrator. Without a way to, what there is to tell waits and is logged
// where it arises.
func (n *Node) makeNotices() (*notify.Duty, error) {
	c := n.config.Notifications
	o := notify.Options{Store: n.store, Node: n.config.NodeName, Log: n.log.Named("notify")}
	if c.Method == "webhook" {
		hook, err := notify.NewWebhook(notify.WebhookOptions{URL: c.Webhook.URL, PayloadKey: c.Webhook.PayloadKey})
		if err != nil {
			return nil, fmt.Errorf("notifications.webhook.url: %w", err)
		}
		n.onClose("the webhook", hook.Close)
		o.Sender = hook
	}
	duty, err := notify.NewDuty(o)
	if err != nil {
		return nil, err
	}
	n.onClose("notices under way", duty.Close)
	return duty, nil
}

// makeDH makes the duty that searches for the cluster's own DH parameters.
func (n *Node) makeDH(o Options) (*dhparams.Duty, error) {
	c := n.config.TLS.DHParams
	return dhparams.NewDuty(dhparams.DutyOptions{
		Store: n.store, Bits: c.Bits, MaxAge: time.Duration(c.MaxAgeDays) * day, Generate: c.Generate,
		NginxPresent: n.nginxPresent, Search: o.SearchDH, Log: n.log.Named("dhparams"),
	})
}

// nginxPresent tells whether a node that belongs to the cluster runs nginx, whether it is up or not.
func (n *Node) nginxPresent() bool {
	return n.config.WebServer == engineNginx || slices.ContainsFunc(n.group.Members(), func(m cluster.Member) bool {
		return m.WebServer == engineNginx
	})
}

// engineNginx is what the configuration and members' records call nginx.
const engineNginx = "nginx"

// dhProgress tells how far the search of this node is.
func (n *Node) dhProgress() (dhparams.Progress, bool) { return n.dh.Progress() }
