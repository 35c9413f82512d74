package cluster

import (
	"errors"
	"path/filepath"
	"slices"

	"statiko/test/etcdtest"
)

// Launch is [Start] outside of a test, with all files in the folder, which exists. The cluster ends with this process, or by
// [Cluster.End]. Links are for tests.
func Launch(folder string, o Options) (_ *Cluster, err error) {
	if o.Links {
		return nil, errors.New("links are made in tests only")
	}
	c := &Cluster{}
	if c.Etcd, err = etcdtest.Launch(folder, o.Etcd); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.End())
		}
	}()
	common := o.common(c.Etcd)
	for i := range o.Nodes {
		n, err := Configure(o.Bin, filepath.Join(folder, name(i)), append(slices.Clip(common), "nodeName="+name(i))...)
		if err != nil {
			return nil, err
		}
		if err := n.Write(); err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, n)
	}
	if err := c.start(); err != nil {
		return nil, err
	}
	return c, nil
}

// End ends the nodes and etcd. It is an error if a node does not end well, or its log tells of a fault. The files stay.
func (c *Cluster) End() error {
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, n.End())
	}
	c.Etcd.End()
	return errors.Join(errs...)
}
