package cli

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"statiko/bundle"
	"statiko/state"
)

// verification is what is to be verified: an uploaded bundle, or an archive or folder of this machine.
type verification struct {
	app, path            string
	signature, publicKey string
	all                  bool
}

func (a *app) verifyCommand() *cobra.Command {
	var v verification
	cmd := &cobra.Command{
		Use: "verify", Short: "Verify the signature of an app bundle, or of an archive or folder here",
		Long: `With --app: whether the signature that the cluster has for an uploaded bundle was made by one of the public keys, for
the SHA-256 that the cluster has for it. Nodes serve no bytes with another SHA-256; the bytes themselves are not fetched
here (stkcli app download does, and verifies them).

With --path: prints the SHA-256 that an archive, or a folder as "app upload" packs it, has on this machine; and with
--signature and --public-key, whether one of the keys made the signature for it.

A public key is a PEM file, or the PEM text itself, with one or several RSA or Ed25519 keys, as codesign.publicKey has
them. A signature is base64, or a file with base64 or with the bytes as they are. The exit code is 7 if it does not verify.`,
		Example: "  stkcli app verify --app docs-42 --public-key codesign.pub\n  stkcli app verify --path docs.tar.gz --signature docs.sig --public-key codesign.pub",
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case (v.app == "") == (v.path == ""):
			return usageError(cmd, "give either --app or --path")
		case v.app != "" && v.signature != "":
			return usageError(cmd, "--signature is for --path; an uploaded bundle has its own")
		case v.app != "" && v.publicKey == "":
			return usageError(cmd, "--public-key is missing")
		case v.path != "" && (v.signature == "") != (v.publicKey == ""):
			return usageError(cmd, "--signature and --public-key need each other")
		}
		return a.verify(cmd.Context(), v)
	}
	f := cmd.Flags()
	f.StringVarP(&v.app, "app", "a", "", "the name of an uploaded bundle")
	f.StringVarP(&v.path, "path", "f", "", "archive or folder of this machine")
	f.StringVar(&v.signature, "signature", "", "the signature of --path: base64, or a file")
	f.StringVar(&v.publicKey, "public-key", "", "PEM file, or PEM text, with the public keys of which one must have signed")
	f.BoolVar(&v.all, "all", false, allUsage)
	return cmd
}

// verified is what is printed after a verification.
type verified struct {
	Name   string `json:"name,omitempty"`
	Path   string `json:"path,omitempty"`
	SHA256 string `json:"sha256"`
	// Signature is "good", "bad", "none", or "not looked at".
	Signature string `json:"signature"`
}

func (a *app) verify(ctx context.Context, v verification) error {
	var keys *bundle.Signers
	if v.publicKey != "" {
		text, from, err := readPEM("--public-key", "the public key", v.publicKey)
		if err != nil {
			return err
		}
		if keys, err = bundle.NewSigners(true, text); err != nil {
			return userError("%s cannot be used: %v", from, err)
		}
	}
	var app *state.App
	var err error
	if v.app != "" {
		app, err = a.uploadedApp(ctx, v.app)
	} else {
		app, err = a.localApp(ctx, v)
	}
	if err != nil {
		return err
	}
	result := verified{Name: app.Name, Path: v.path, SHA256: app.SHA256, Signature: "not looked at"}
	var failed error
	if keys != nil {
		result.Signature, failed = judge(keys, app)
	}
	if err := a.print(result, func(t *table) {
		if app.Name != "" {
			t.row("Name", app.Name)
		}
		t.row("SHA256", result.SHA256)
		t.row("Signature", result.Signature)
	}); err != nil {
		return err
	}
	return failed
}

// judge returns what the signature of a bundle is worth, and a failure if it does not verify.
func judge(keys *bundle.Signers, app *state.App) (string, error) {
	err := keys.Check(app)
	switch {
	case err == nil:
		return "good", nil
	case app.Signature == "":
		return "none", &failure{code: ExitNotVerified, message: "there is no signature"}
	}
	return "bad", &failure{code: ExitNotVerified, message: "the signature does not verify", cause: err}
}

// uploadedApp returns what the cluster's state has of a bundle.
func (a *app) uploadedApp(ctx context.Context, name string) (*state.App, error) {
	name, err := checkName(state.CheckAppName, "--app", name)
	if err != nil {
		return nil, err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	app, err := a.findApp(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return &state.App{Name: app.Name, SHA256: app.SHA256, Signature: app.Signature}, nil
}

// localApp returns the digest of what is on this machine, and the signature given for it.
func (a *app) localApp(ctx context.Context, v verification) (*state.App, error) {
	signature, err := readSignature(v.signature)
	if err != nil {
		return nil, err
	}
	archive, err := a.openArchive(v.path, v.all)
	if err != nil {
		return nil, err
	}
	progress, done := a.progress("hashing", archive.total)
	sum, _, err := archive.digest(ctx, io.Discard, progress)
	done()
	if err != nil {
		return nil, err
	}
	return &state.App{SHA256: hex.EncodeToString(sum), Signature: signature}, nil
}

// readSignature returns the base64 of a signature, given as base64 or as a file with base64 or with the bytes.
func readSignature(given string) (string, error) {
	if given == "" {
		return "", nil
	}
	content := []byte(given)
	info, err := os.Stat(given)
	isFile := err == nil && info.Mode().IsRegular()
	if isFile {
		if info.Size() > 1<<20 {
			return "", userError("%s is too large for a signature", given)
		}
		if content, err = os.ReadFile(given); err != nil {
			return "", userError("--signature: %v", err)
		}
	}
	// Programs break base64 into lines.
	text := strings.Join(strings.Fields(string(content)), "")
	if _, err := base64.StdEncoding.DecodeString(text); err == nil && text != "" {
		return text, nil
	}
	if !isFile {
		return "", userError("--signature is neither a file nor base64: %s", given)
	}
	if len(content) == 0 {
		return "", userError("%s is empty", given)
	}
	return base64.StdEncoding.EncodeToString(content), nil
}
