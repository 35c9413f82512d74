package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"statiko/bundle"
	"statiko/bundle/azurerepo"
	"statiko/bundle/objectstore"
	"statiko/bundle/s3repo"
	"statiko/config"
)

// remote is a repository in an object store.
type remote interface {
	bundle.Repository
	io.Closer
	// Check returns what keeps the store from being used, with the keys to look at.
	Check(ctx context.Context) error
}

// cleaner is a repository in which crashes leave something that only the repository finds.
type cleaner interface {
	Clean(ctx context.Context) error
}

// openRemote opens the object store that the configuration names, without connecting to it: a node serves what it
// has, whether its store answers or not.
func openRemote(c *config.Config, policy objectstore.Policy, log *zap.Logger) (remote, error) {
	switch c.Repo.Type {
	case "s3":
		s := c.Repo.S3
		r, err := s3repo.Open(s3repo.Options{
			Endpoint: s.Endpoint, Region: s.Region, NoTLS: s.NoTLS, Bucket: s.Bucket,
			AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey, Policy: policy, Log: log,
		})
		if err != nil {
			return nil, fmt.Errorf("open the repository (keys repo.s3.*): %w", err)
		}
		return r, nil
	case "azure":
		a := c.Repo.Azure
		r, err := azurerepo.Open(azurerepo.Options{
			Account: a.Account, Endpoint: a.Endpoint, Container: a.Container, AccessKey: a.AccessKey,
			TenantID: c.Azure.TenantID, ClientID: c.Azure.ClientID, ClientSecret: c.Azure.ClientSecret, Policy: policy, Log: log,
		})
		if err != nil {
			return nil, fmt.Errorf("open the repository (keys repo.azure.*): %w", err)
		}
		return r, nil
	}
	return nil, fmt.Errorf("repo.type: %q is not a repository of this version", c.Repo.Type)
}

// closeRepository releases what a repository holds, if it does.
func closeRepository(r bundle.Repository) func() error {
	if c, ok := r.(io.Closer); ok {
		return c.Close
	}
	return func() error { return nil }
}

// checkTimeout bounds how long CheckRepository may take.
const checkTimeout = 30 * time.Second

// CheckRepository connects to the repository that the configuration names and returns what is wrong. It changes
// nothing. A folder is not looked at: the node makes it.
func CheckRepository(ctx context.Context, c *config.Config) (err error) {
	if c.Repo.Type == "local" {
		return nil
	}
	r, err := openRemote(c, objectstore.Policy{Patience: 5 * time.Second, Stall: 10 * time.Second}, zap.NewNop())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := r.Check(ctx); err != nil {
		return fmt.Errorf("repo.type is %s, and the repository cannot be used: %w", c.Repo.Type, err)
	}
	return nil
}

// checkEvery is how often a repository that cannot be used is asked again.
const checkEvery = 30 * time.Second

// watchRepository says in the log what keeps the repository from being used, until it can be, and then has it remove
// what crashes left.
func (n *Node) watchRepository(ctx context.Context) {
	r, ok := n.library.Repository.(remote)
	if !ok {
		return
	}
	again := time.NewTicker(checkEvery)
	defer again.Stop()
	for failed := ""; ; {
		err := r.Check(ctx)
		if err == nil {
			if failed != "" {
				n.log.Info("the repository can be used now")
			}
			break
		}
		if ctx.Err() != nil {
			return
		}
		if err.Error() != failed { // once each
			failed = err.Error()
			n.log.Error("the repository cannot be used: sites are served on, uploads are refused", zap.Error(err))
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
	if c, ok := r.(cleaner); ok {
		if err := c.Clean(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("the repository was not cleaned", zap.Error(err))
		}
	}
}
