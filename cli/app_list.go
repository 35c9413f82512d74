package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"statiko/api"
)

func (a *app) appList(ctx context.Context) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	apps, err := c.AppsOnNodes(ctx)
	if err != nil {
		return a.nodeError(err, "list the app bundles")
	}
	var members []api.Node
	if a.flags.output == outputTable && slices.ContainsFunc(apps, told) {
		// Without the members, the nodes that have a bundle are still worth showing.
		members, _ = c.Nodes(ctx)
	}
	return a.print(apps, func(t *table) {
		if len(apps) == 0 {
			t.line("There are no apps.")
		}
		for i := range apps {
			t.gap(i)
			t.app(&apps[i], members)
		}
	})
}

// told tells whether a node says more of a bundle than those of the earlier program do.
func told(app api.App) bool { return app.SHA256 != "" }

// app writes a bundle. Members are the nodes of the cluster; nil if they are not known.
func (t *table) app(app *api.App, members []api.Node) {
	t.row("Name", app.Name)
	t.row("Size", size(app.Size))
	t.row("LastModified", app.LastModified.Format(time.RFC3339))
	if !told(*app) {
		return
	}
	t.row("Age", strings.TrimSpace(humanize.RelTime(app.LastModified, time.Now(), "", "ahead")))
	t.row("Type", app.Type)
	t.row("SHA256", app.SHA256)
	t.row("Sites", first(app.Sites))
	t.row("Nodes", onNodes(app, members))
	signed := "no"
	switch {
	case app.Pending:
		signed = "no, and one is needed: pending, it cannot be deployed"
	case app.Signature != "":
		signed = "yes"
	}
	t.row("Signed", signed)
}

// maxShown is how many names are shown in a row.
const maxShown = 3

// first returns how many names there are, and the first few.
func first(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "0"
	case n > maxShown:
		return fmt.Sprintf("%d (%s and %d more)", n, strings.Join(names[:maxShown], ", "), n-maxShown)
	default:
		return fmt.Sprintf("%d (%s)", n, strings.Join(names, ", "))
	}
}

// onNodes returns on how many nodes a bundle is, and what is the matter with others: "2/3 (not on edge-3)".
func onNodes(app *api.App, members []api.Node) string {
	if members == nil {
		return first(app.Nodes)
	}
	var lacking, packed, down []string
	for _, n := range members {
		has := slices.Contains(app.Nodes, n.Name)
		switch {
		case !n.Up && !has:
			down = append(down, n.Name)
		case !has:
			lacking = append(lacking, n.Name)
		}
		if n.Up && len(app.Sites) > 0 && !slices.Contains(app.Unpacked, n.Name) {
			packed = append(packed, n.Name)
		}
	}
	var notes []string
	for _, note := range []struct {
		text  string
		names []string
	}{{"not on ", lacking}, {"down: ", down}, {"not unpacked on ", packed}} {
		if len(note.names) > 0 {
			notes = append(notes, note.text+strings.Join(note.names, ", "))
		}
	}
	return detail(fmt.Sprintf("%d/%d", len(app.Nodes), len(members)), strings.Join(notes, "; "))
}
