package cli

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/state"
)

func (a *app) certificateCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the imported certificates",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.certificateList(cmd.Context()) },
	}
	var add api.CertificateImport
	var certFile, keyFile string
	addCmd := &cobra.Command{
		Use: "add", Short: "Import a certificate, or replace an imported one",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.certificateAdd(cmd.Context(), add, certFile, keyFile)
		},
	}
	f := addCmd.Flags()
	f.StringVarP(&add.Name, "name", "n", "", "name for the certificate")
	f.StringVarP(&certFile, "certificate", "c", "", "PEM file with the certificate and its chain")
	f.StringVarP(&keyFile, "key", "k", "", "PEM file with the private key")
	f.BoolVarP(&add.Force, "force", "f", false, "import it although it is not valid now or soon not valid any more")
	for _, name := range []string{"name", "certificate", "key"} {
		_ = addCmd.MarkFlagRequired(name)
	}
	var name string
	var yes bool
	remove := &cobra.Command{
		Use: "remove", Short: "Remove an imported certificate that no site uses",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.certificateRemove(cmd.Context(), name, yes) },
	}
	remove.Flags().StringVarP(&name, "name", "n", "", "the certificate's name")
	remove.Flags().BoolVar(&yes, "yes", false, "do not ask")
	_ = remove.MarkFlagRequired("name")
	return group("certificate", "Manage imported TLS certificates", list, a.changes(addCmd), a.changes(remove))
}

func (a *app) certificateAdd(ctx context.Context, add api.CertificateImport, certFile, keyFile string) error {
	name, err := checkName(state.CheckCertificateName, "--name", add.Name)
	if err != nil {
		return err
	}
	if name != add.Name {
		return userError("--name %q has capital letters; did you mean %q?", add.Name, name)
	}
	for _, file := range []struct {
		flag, path string
		text       *string
	}{{"--certificate", certFile, &add.Certificate}, {"--key", keyFile, &add.Key}} {
		b, err := os.ReadFile(file.path)
		if err != nil {
			return userError("%s: %v", file.flag, err)
		}
		*file.text = string(b)
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	err = a.change(ctx, c, "", "import the certificate "+name, func(o ...api.CallOption) error {
		return c.ImportCertificate(ctx, add, o...)
	})
	if err == nil {
		a.say("the certificate %s is imported", name)
	}
	return err
}

func (a *app) certificateRemove(ctx context.Context, name string, yes bool) error {
	if err := a.confirm(ctx, yes, "Remove the certificate %s?", name); err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	err = a.change(ctx, c, "", "remove the certificate "+name, func(o ...api.CallOption) error {
		return c.DeleteCertificate(ctx, name, o...)
	})
	if err == nil {
		a.say("the certificate %s is removed", name)
	}
	return err
}

func (a *app) dhparamsCommand() *cobra.Command {
	get := &cobra.Command{
		Use: "get", Short: "Show which Diffie-Hellman parameters are in use",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.dhparamsGet(cmd.Context()) },
	}
	var file string
	set := &cobra.Command{
		Use: "set", Short: "Store Diffie-Hellman parameters",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.dhparamsSet(cmd.Context(), file) },
	}
	set.Flags().StringVarP(&file, "file", "f", "", "PEM file with the parameters")
	_ = set.MarkFlagRequired("file")
	return group("dhparams", "Manage Diffie-Hellman parameters", get, a.changes(set), a.dhparamsGenerateCommand())
}

func (a *app) dhparamsGet(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	p, err := c.DHParams(ctx)
	if err != nil {
		return a.nodeError(err, "get the Diffie-Hellman parameters")
	}
	return a.print(p, func(t *table) {
		kind := map[string]string{"builtin": "builtin (a published group)", "cluster": "cluster (its own parameters)"}[p.Type]
		if kind == "" {
			kind = "unknown: " + p.Type
		}
		t.row("Type", kind)
		date := ""
		if p.Date != nil {
			date = p.Date.Format(time.RFC3339)
		}
		t.row("Generated", date)
		t.row("Re-generating", generatingText(p))
	})
}

func (a *app) dhparamsSet(ctx context.Context, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return userError("--file: %v", err)
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	err = a.change(ctx, c, "", "store the Diffie-Hellman parameters", func(o ...api.CallOption) error {
		return c.SetDHParams(ctx, string(b), o...)
	})
	if err == nil {
		a.say("the Diffie-Hellman parameters are stored")
	}
	return err
}
