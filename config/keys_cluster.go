package config

import "time"

func clusterKeys() []key {
	return []key{
		{
			name: "cluster.advertise", env: []string{"CLUSTER_ADVERTISE"}, defText: "found by the node",
			field: func(c *Config) any { return &c.Cluster.Advertise },
			doc:   "Host, with an optional port, at which the other nodes reach the API of this one.",
			check: func(l *loader) {
				if l.Cluster.Advertise == "" {
					return
				}
				if a, err := hostMaybePort(l.Cluster.Advertise); err != nil {
					l.fault("must be a host with an optional port, such as node-1.example.org:2265, not %s", l.key.show(l.Cluster.Advertise))
				} else {
					l.Cluster.Advertise = a
				}
			},
		}, {
			name: "cluster.forgetAfter", env: []string{"CLUSTER_FORGET_AFTER"}, def: "24h",
			field: func(c *Config) any { return &c.Cluster.ForgetAfter },
			doc:   "How long a node may be away before the cluster no longer waits for it or counts it as a member.",
			check: func(l *loader) { l.durations(l.Cluster.ForgetAfter, time.Minute, 10*366*24*time.Hour) },
		}, {
			name: "leader.leaseTTL", env: []string{"LEADER_LEASE_TTL"}, def: "10", unit: time.Second,
			field: func(c *Config) any { return &c.Leader.LeaseTTL },
			doc: "For how long a leader that went silent keeps its place, 5 to 60. A smaller number replaces a crashed leader sooner, " +
				"a larger one bears slower networks.",
			check: func(l *loader) {
				if l.Leader.LeaseTTL%time.Second != 0 {
					l.fault("must be whole seconds")
				} else {
					l.durations(l.Leader.LeaseTTL, 5*time.Second, 60*time.Second)
				}
			},
		},
	}
}

func noticeKeys() []key {
	return []key{
		{
			name: "notifications.method", env: []string{"NOTIFICATIONS_METHOD"}, def: "off",
			choices: []choice{{value: "off", also: []string{"no", "0", "false"}}, {value: "webhook"}},
			field:   func(c *Config) any { return &c.Notifications.Method },
			doc: "How an administrator is told of trouble, such as certificates that expire: `webhook`, or `off`. The leader tells, " +
				"so set it on all nodes.",
		}, {
			name: "notifications.webhook.url", env: []string{"NOTIFICATIONS_WEBHOOK_URL"}, secret: true,
			field: func(c *Config) any { return &c.Notifications.Webhook.URL },
			doc: "URL that notices are posted to, http or https. Required if `notifications.method` is `webhook`. It may hold a secret: " +
				"the node never logs more of it than its host.",
			check: func(l *loader) {
				l.needs(l.Notifications.Method == "webhook", "notifications.method is webhook")
				if l.Notifications.Webhook.URL != "" {
					l.url(l.Notifications.Webhook.URL)
				}
			},
		}, {
			name: "notifications.webhook.payloadKey", env: []string{"NOTIFICATIONS_WEBHOOK_PAYLOAD_KEY"}, def: "value1",
			field: func(c *Config) any { return &c.Notifications.Webhook.PayloadKey },
			doc:   "Member of the posted JSON object that holds the notice's text.",
		}, {
			name: "notifications.patience", env: []string{"NOTIFICATIONS_PATIENCE"}, def: "2m",
			field: func(c *Config) any { return &c.Notifications.Patience },
			doc: "For how long a site is unhealthy, or a node fails, before that is told, and likewise healthy again. What fails again " +
				"and again has to be healthy for longer.",
			check: func(l *loader) { l.durations(l.Notifications.Patience, time.Second, 24*time.Hour) },
		}, {
			name: "log.level", env: []string{"LOG_LEVEL"}, def: "info",
			choices: []choice{{value: "debug"}, {value: "info"}, {value: "warn", also: []string{"warning"}}, {value: "error"}},
			field:   func(c *Config) any { return &c.Log.Level },
			doc:     "Least important messages that are logged.",
		}, {
			name: "log.format", env: []string{"LOG_FORMAT"}, defText: "console on a terminal, json elsewhere",
			choices: []choice{{value: "console"}, {value: "json"}, {value: "", also: []string{"auto"}}},
			field:   func(c *Config) any { return &c.Log.Format },
			doc:     "Form of the log: `console` for people, `json` for machines, `auto` to decide by whether it goes to a terminal.",
		},
	}
}
