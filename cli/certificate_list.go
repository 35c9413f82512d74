package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"statiko/api"
)

func (a *app) certificateList(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	list, err := c.CertificateDetails(ctx)
	if err != nil {
		return a.nodeError(err, "list the certificates")
	}
	return a.print(list, func(t *table) {
		if len(list) == 0 {
			t.line("There is no imported certificate.")
		}
		for i, cert := range list {
			if cert.Error == "" && cert.NotAfter == nil { // of a node of the earlier program
				t.line("%s", cert.Name)
				continue
			}
			t.gap(i)
			t.certificate(cert)
		}
	})
}

func (t *table) certificate(c api.CertificateDetails) {
	t.row("Name", c.Name)
	if c.Error != "" {
		t.row("Error", t.a.paintOut(red, c.Error))
	} else {
		t.row("Hosts", strings.Join(c.Names, ", "))
		t.row("Issuer", c.Issuer)
		t.row("Key", c.KeyType)
		t.row("Expires", t.expires(c))
	}
	t.row("Sites", strings.Join(c.Sites, ", "))
}

// expires shows the end of a certificate with the days left, in colour when there are few.
func (t *table) expires(c api.CertificateDetails) string {
	text := c.NotAfter.Format(time.RFC3339)
	if c.DaysLeft == nil {
		return text
	}
	switch n := *c.DaysLeft; {
	case n < 0:
		return t.a.paintOut(red, text+" (expired)")
	case n == 1:
		return t.a.paintOut(yellow, text+" (1 day left)")
	case n < 14:
		return t.a.paintOut(yellow, fmt.Sprintf("%s (%d days left)", text, n))
	default:
		return fmt.Sprintf("%s (%d days left)", text, n)
	}
}
