package config

import (
	"net"
	"strings"
)

func webKeys() []key {
	return []key{
		{
			name: "webserver", env: []string{"WEBSERVER"}, def: "builtin",
			choices: []choice{{value: "builtin"}, {value: "nginx"}, {value: "none"}},
			field:   func(c *Config) any { return &c.WebServer },
			doc: "What serves the sites: `builtin`, this program itself; `nginx`, an nginx that this program configures; `none`, " +
				"nothing, on a node that only takes part in managing.",
		}, {
			name: "web.httpAddress", env: []string{"WEB_HTTP_ADDRESS"}, def: ":80",
			field: func(c *Config) any { return &c.Web.HTTPAddress },
			doc:   "Where sites are served over HTTP, as `host:port`; without a host on all addresses, IPv4 and IPv6.",
			check: func(l *loader) { l.address(&l.Web.HTTPAddress) },
		}, {
			name: "web.httpsAddress", env: []string{"WEB_HTTPS_ADDRESS"}, def: ":443",
			field: func(c *Config) any { return &c.Web.HTTPSAddress },
			doc:   "Where sites are served over HTTPS, as `host:port`; without a host on all addresses, IPv4 and IPv6.",
			check: checkAddresses,
		}, {
			name: "web.publicHttpsPort", env: []string{"WEB_PUBLIC_HTTPS_PORT"}, def: "443",
			field: func(c *Config) any { return &c.Web.PublicHTTPSPort },
			doc: "Port at which visitors reach `web.httpsAddress`, for redirects to HTTPS. It differs from that of the address behind " +
				"a port mapping. 0 means the port of the address.",
			check: func(l *loader) { l.between(l.Web.PublicHTTPSPort, 0, 65535) },
		}, {
			name: "nginx.mode", env: []string{"NGINX_MODE"}, def: "managed", choices: []choice{{value: "managed"}, {value: "external"}},
			field: func(c *Config) any { return &c.Nginx.Mode },
			doc: "With `webserver: nginx`: `managed`, this program runs an nginx of its own, as a child, with a configuration below " +
				"`appRoot`, at the addresses of `web.httpAddress` and `web.httpsAddress`; `external`, an nginx that something else " +
				"runs, such as systemd, gets one file more, and is driven by `nginx.commands`.",
		}, {
			name: "nginx.configPath", env: []string{"NGINX_CONFIG_PATH"}, def: "/etc/nginx/", path: true,
			field: func(c *Config) any { return &c.Nginx.ConfigPath },
			doc: "In mode `external`, the folder of nginx's configuration. The file `conf.d/statiko.conf` in it is written, and nothing " +
				"else touched; nginx's own configuration must include it inside of `http`.",
		}, {
			name: "nginx.user", env: []string{"NGINX_USER"}, def: "www-data",
			field: func(c *Config) any { return &c.Nginx.User },
			doc: "User as which nginx's workers run, if this program runs as root. Besides it, only this user's group can read " +
				"certificates' keys. In mode `external` it must be the one that nginx's own configuration names.",
		}, {
			name: "nginx.commands.start", env: []string{"NGINX_START"}, def: "systemctl start nginx",
			field: func(c *Config) any { return &c.Nginx.Commands.Start },
			doc:   "Mode `external`: shell command that starts nginx. It is called whenever nginx does not run.",
		}, {
			name: "nginx.commands.restart", env: []string{"NGINX_RESTART"},
			def:   "systemctl is-active --quiet nginx && systemctl reload nginx || systemctl restart nginx",
			field: func(c *Config) any { return &c.Nginx.Commands.Restart },
			doc:   "Mode `external`: shell command that makes nginx read its configuration again, starting it if need be.",
		}, {
			name: "nginx.commands.status", env: []string{"NGINX_STATUS"}, def: "systemctl is-active --quiet nginx && echo 1 || echo 0",
			field: func(c *Config) any { return &c.Nginx.Commands.Status },
			doc:   "Mode `external`: shell command that prints `1` if nginx runs, and anything else if not.",
		}, {
			name: "nginx.commands.test", env: []string{"NGINX_TEST"}, def: "nginx -t -q",
			field: func(c *Config) any { return &c.Nginx.Commands.Test },
			doc: "Mode `external`: shell command that tests nginx's configuration: exit code 0 and nothing on standard output if it is " +
				"good, 1 if not. Commands have a minute each.",
		},
	}
}

// checkAddresses checks web.httpsAddress, and that no two servers want the same port.
func checkAddresses(l *loader) {
	l.address(&l.Web.HTTPSAddress)
	if l.WebServer == "none" {
		return
	}
	type listener struct{ key, address string }
	all := []listener{{"port", net.JoinHostPort(l.BindAddress, itoa(l.Port))}, {"web.httpAddress", l.Web.HTTPAddress}, {"web.httpsAddress", l.Web.HTTPSAddress}}
	for i, a := range all {
		for _, b := range all[:i] {
			if l.failed[a.key] || l.failed[b.key] || !collide(a.address, b.address) {
				continue
			}
			if l.wasSet(b.key) && !l.wasSet(a.key) {
				a, b = b, a // the fault belongs to what somebody wrote
			}
			l.faultFor(a.key, "would listen on the same port as %s: choose another", b.key)
		}
	}
}

// collide tells whether two addresses can certainly not be listened on at the same time.
func collide(a, b string) bool {
	ah, ap, aerr := net.SplitHostPort(a)
	bh, bp, berr := net.SplitHostPort(b)
	if aerr != nil || berr != nil || ap != bp || ap == "0" {
		return false
	}
	return ah == "" || bh == "" || strings.EqualFold(ah, bh)
}

func temporaryKeys() []key {
	return []key{
		{
			name: "temporarySites.domain", env: []string{"TEMPORARY_SITES_DOMAIN"},
			field: func(c *Config) any { return &c.TemporarySites.Domain },
			doc: "Domain below which temporary sites get their generated names; a leading dot may be written. Without it there " +
				"are no temporary sites.",
			check: func(l *loader) {
				t := &l.TemporarySites
				if t.Domain == "" {
					return
				}
				if d, err := hostName(strings.TrimPrefix(t.Domain, ".")); err != nil {
					l.fault("must be a domain such as temp.example.org, not %s", l.key.show(t.Domain))
				} else {
					t.Domain = d
				}
			},
		}, {
			name: "temporarySites.ttl", env: []string{"TEMPORARY_SITES_TTL"}, def: "7d",
			field: func(c *Config) any { return &c.TemporarySites.TTL },
			doc:   "Age at which temporary sites are removed; 0 keeps them.",
			check: func(l *loader) {
				if l.TemporarySites.TTL < 0 {
					l.fault("must not be negative")
				}
			},
		},
	}
}
