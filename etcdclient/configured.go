package etcdclient

import (
	"go.uber.org/zap"

	"statiko/config"
)

// Configured returns how the configuration says that etcd is reached.
func Configured(c *config.Config, log *zap.Logger) Options {
	e := c.State.Etcd
	return Options{
		Endpoints: e.Address, Timeout: e.Timeout,
		CA: e.TLS.CA, ClientCertificate: e.TLS.ClientCertificate, ClientKey: e.TLS.ClientKey, SkipVerify: e.TLSSkipVerify,
		Username: e.Username, Password: e.Password, Log: log,
	}
}
