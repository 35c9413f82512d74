package cli

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"statiko/api"
	"statiko/bundle"
	"statiko/state"
)

// upload is one bundle to be sent.
type upload struct {
	name, path, signingKey string
	// all keeps what is left out otherwise.
	all bool
}

// Flags of all commands that send bundles.
const (
	pathUsage       = "folder or archive to upload"
	signingKeyUsage = "sign the bundle with this RSA or Ed25519 key: a PEM file, or the PEM text itself"
	allUsage        = "leave nothing of the folder out"
)

func (a *app) uploadCommand() *cobra.Command {
	var u upload
	cmd := appFlag(&cobra.Command{
		Use: "upload", Short: "Upload an app bundle: a folder, or an archive",
		Long: `Uploads a folder or an archive as an app bundle.

A folder is packed as it is sent, so that the same files always make the same archive. Left out, and named, are what
version control, editors and operating systems leave behind, files named .env, and what a file ` + ignoreFile + ` in the
folder names, with the patterns of a .gitignore; --all keeps them. Symbolic links are packed as what they point to,
which must be inside of the folder.

An archive is sent as it is. Its type is told from its name:
` + strings.Join(bundle.Types(), ", ") + `.

With --wait, the command ends when every node has the bundle unpacked, so that deploying it only switches.`,
		Example: "  stkcli app upload --app docs-42 --path ./public\n  stkcli app upload --app docs-42 --path docs.zip --signing-key codesign.key",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.upload(cmd.Context(), u) },
	}, &u.name)
	f := cmd.Flags()
	f.StringVarP(&u.path, "path", "f", "", pathUsage)
	f.StringVarP(&u.signingKey, "signing-key", "s", "", signingKeyUsage)
	f.BoolVar(&u.all, "all", false, allUsage)
	_ = cmd.MarkFlagRequired("path")
	return cmd
}

// uploaded is what is printed after an upload.
type uploaded struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Signature string `json:"signature,omitempty"`
	// Replicas is on how many nodes it is stored, and on how many it should be, such as "2/2".
	Replicas string `json:"replicas,omitempty"`
	// Pending tells that it cannot be deployed as its signature is missing.
	Pending bool `json:"pending,omitempty"`
}

// upload reads and checks everything before it sends anything: name, path, what a folder holds, signing key.
func (a *app) upload(ctx context.Context, u upload) error {
	name, err := checkName(state.CheckAppName, "--app", u.name)
	if err != nil {
		return err
	}
	sign, err := a.signer(u.signingKey)
	if err != nil {
		return err
	}
	archive, err := a.openArchive(u.path, u.all)
	if err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	doing := "uploading"
	if archive.folder {
		doing = "packing and uploading"
	}
	result, err := a.send(ctx, c, name, archive, doing, sign, time.Duration(a.flags.wait))
	if result == nil {
		return err
	}
	if e := a.print(result, func(t *table) {
		t.row("Uploaded", fmt.Sprintf("%s (%s)", size(result.Size), result.Type))
		t.row("SHA256", result.SHA256)
		signed := "none"
		switch {
		case sign != nil:
			signed = sign.String()
		case result.Signature != "":
			signed = "the one it had"
		}
		t.row("Signature", signed)
		t.row("Done", name)
	}); e != nil {
		return e
	}
	return err
}

// signer loads the signing key, and warns of one that not every node takes.
func (a *app) signer(given string) (*signer, error) {
	sign, err := loadSigner(given)
	if err == nil && sign != nil && sign.bits() != 0 && sign.bits() != 4096 {
		a.warn("the signing key has %d bits; nodes of the earlier program take only signatures of 4096-bit keys, and others for none", sign.bits())
	}
	return sign, err
}

// send uploads an archive, with its signature, and says what should be known of it. With wait it waits until the nodes
// have it unpacked. Without a result the bundle is not there, or not complete; a failure beside one is about the
// waiting.
func (a *app) send(ctx context.Context, c *api.Client, name string, r *archive, doing string, sign *signer, wait time.Duration) (*uploaded, error) {
	progress, done := a.progress(doing, r.total)
	content, err := r.open(progress)
	if err != nil {
		return nil, err
	}
	digest, sent := sha256.New(), &counter{}
	var stored api.Answer
	// The first request is not the one to wait for: the bundle is complete only with the second.
	err = c.UploadApp(ctx, name, r.typ, io.TeeReader(content, io.MultiWriter(digest, sent)), nil, api.Observe(&stored))
	content.Close()
	done()
	if err != nil {
		if f, ok := errors.AsType[*failure](err); ok {
			return nil, f // of reading here
		}
		return nil, a.nodeError(err, "upload %s", name)
	}
	sum := digest.Sum(nil)
	result := &uploaded{Name: name, Type: r.typ, Size: sent.n, SHA256: hex.EncodeToString(sum), Replicas: stored.Replicas}
	if have, want, ok := replicas(stored.Replicas); ok && have < want {
		a.warn("%s is stored on %d of %d nodes; the others fetch it when they can", name, have, want)
	}
	until := time.Now().Add(wait)
	completed, waiting := a.complete(ctx, c, result, sum, sign, wait)
	if f, ok := errors.AsType[*failure](waiting); ok && f.code != ExitNotApplied {
		return nil, f
	}
	if sign != nil && sign.bits() == 0 && completed.Revision < 0 {
		a.warn("the node is of the earlier program, which takes Ed25519 signatures for none")
	}
	result.Pending = completed.Pending
	switch why := "codesign.required asks for a signature, and it has none, so that it cannot be deployed"; {
	case result.Pending && wait == 0:
		a.warn("%s is pending: %s; upload it again with --signing-key", name, why)
	case result.Pending && waiting == nil:
		waiting = &failure{code: ExitNotApplied, message: name + " is stored, but pending: " + why, hint: "upload it again with --signing-key"}
	case wait > 0 && waiting == nil:
		waiting = a.unpacked(ctx, c, name, wait, until)
	}
	return result, waiting
}

// complete sends the checksum and the signature of a bundle that was uploaded. Without a key, a signature that it has
// already stays: the same content may be uploaded again by somebody who has none.
func (a *app) complete(ctx context.Context, c *api.Client, u *uploaded, sum []byte, sign *signer, wait time.Duration) (api.Answer, error) {
	var err error
	if sign != nil {
		u.Signature, err = sign.sign(sum)
	} else {
		u.Signature, err = a.signature(ctx, c, u.Name)
	}
	if err != nil {
		return api.Answer{}, err
	}
	metadata := api.AppMetadata{Signature: u.Signature, Hash: base64.StdEncoding.EncodeToString(sum)}
	answer, err := a.changeIn(ctx, c, wait, "", "store the checksum and signature of "+u.Name+", which is uploaded but not complete",
		func(o ...api.CallOption) error { return c.SetAppMetadata(ctx, u.Name, metadata, o...) })
	if f, ok := errors.AsType[*failure](err); ok && f.code != ExitNotApplied && f.hint == "" {
		f.hint = fmt.Sprintf("upload again when that is put right; stkcli app remove --app %s removes it", u.Name)
	}
	return answer, err
}

// signature returns the one that a bundle has; "" without one.
func (a *app) signature(ctx context.Context, c *api.Client, name string) (string, error) {
	apps, err := c.Apps(ctx)
	if err != nil {
		return "", a.nodeError(err, "complete %s, which is uploaded: list the app bundles", name)
	}
	for _, app := range apps {
		if app.Name == name {
			return app.Signature, nil
		}
	}
	return "", nil
}

// replicas reads a value such as "1/2".
func replicas(text string) (have, want int, ok bool) {
	n, err := fmt.Sscanf(text, "%d/%d", &have, &want)
	return have, want, err == nil && n == 2
}

// counter counts the bytes written to it.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }
