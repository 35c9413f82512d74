package nginx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLeft_AStartThatChangesNothingNeedsNoSpace(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	smallDisk(t, p.dir)
	sites := many(t)
	s := p.next(Options{Complete: make(chan struct{})})
	for _, site := range sites { // one by one, so that the revision is not that of a first configuration
		apply(t, s, site)
	}
	p.stop()
	free := fill(t, p.dir)
	known := make(chan struct{})
	s = p.next(Options{Complete: known})
	apply(t, s, sites...)
	close(known)
	awaitServing(t, s)
	for _, site := range sites {
		wantBody(t, s, site.Domain, "/", "I am "+site.Domain[:1])
	}
	// What changes needs some, and says so; all else goes on.
	late := page(t, "e.test", "I am e")
	if _, err := tryApply(t, s, late); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a site more on a full disk: %v", err)
	}
	wantBody(t, s, "a.test", "/", "I am a")
	free()
	apply(t, s, late)
	wantBody(t, s, "e.test", "/", "I am e")
}

func TestLeft_WithoutSpaceForWhatChangedAllIsServedAsBefore(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	smallDisk(t, p.dir)
	sites := many(t)
	apply(t, p.next(Options{Complete: make(chan struct{})}), sites...)
	p.stop()
	free := fill(t, p.dir)
	s := p.next(untold())
	next := append(slices.Clone(sites[1:]), page(t, "e.test", "I am e")) // a.test is removed
	if _, err := tryApply(t, s, next...); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("other sites on a full disk: %v", err)
	}
	awaitServing(t, s)
	wantBody(t, s, "a.test", "/", "I am a")
	wantBody(t, s, "d.test", "/", "I am d")
	// It stays so however long it lasts, how often it is tried, and if nginx ends meanwhile.
	if _, err := tryApply(t, s, sites[1:]...); err == nil {
		t.Error("a site less on a full disk is taken")
	}
	filesOf(t, s) // removes what is not needed
	wantBody(t, s, "b.test", "/", "I am b")
	EndLeftover(s.paths.dir)
	if _, err := tryApply(t, s, next...); err == nil {
		t.Error("other sites on a full disk are taken")
	}
	wantBody(t, s, "a.test", "/", "I am a")
	awaitServing(t, s)
	free()
	apply(t, s, next...)
	wantBody(t, s, "e.test", "/", "I am e")
	if status, _, err := get(s, "a.test", "/"); err != nil || status != 404 {
		t.Errorf("a site that was removed while the node was down: %d %v", status, err)
	}
}

// Without space, and with nothing there that nginx could be started with, it is started as soon as there is some.
func TestLeft_NothingToStartWith(t *testing.T) {
	t.Parallel()
	for what, remove := range map[string]string{"the pair for checks": "check.pem", "the configuration": "nginx.conf", "the DH parameters": "dh-*"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newSuccession(t)
			smallDisk(t, p.dir)
			sites := many(t)
			s := p.next(Options{})
			apply(t, s, sites...)
			p.stop()
			gone, err := filepath.Glob(filepath.Join(p.dir, remove))
			if err != nil || len(gone) != 1 {
				t.Fatalf("%s: %v %v", remove, gone, err)
			}
			if err := errors.Join(os.Remove(gone[0]), os.Truncate(s.paths.next, 0)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			free := fill(t, p.dir)
			s = p.next(untold())
			eventually(t, func() error {
				if err := s.Status().Err; err == nil || !contains(err, "no space left") {
					return fmt.Errorf("status %w", err)
				}
				return nil
			})
			if _, err := tryApply(t, s, sites...); err == nil || !contains(err, "no space left") {
				t.Errorf("apply: %v", err)
			}
			free()
			apply(t, s, sites...)
			wantBody(t, s, "a.test", "/", "I am a")
		})
	}
}

// A process that had to start nginx with what was there goes on with that if nothing changed, and without a byte written.
func TestLeft_NothingChangedAndToldLate(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	smallDisk(t, p.dir)
	sites := many(t)
	apply(t, p.next(Options{}), sites...)
	p.stop()
	free := fill(t, p.dir)
	s := p.next(untold())
	awaitServing(t, s)
	apply(t, s, sites...)
	filesOf(t, s) // removes what is not needed
	wantBody(t, s, "a.test", "/", "I am a")
	free()
	apply(t, s, page(t, "e.test", "I am e"))
	wantBody(t, s, "e.test", "/", "I am e")
}

// What nginx passes on is answered too while it serves as before.
func TestLeft_WhatTheNodeAnswers(t *testing.T) {
	t.Parallel()
	p := newSuccession(t)
	smallDisk(t, p.dir)
	site := stage(t, newSite(t, "n.test"), map[string]string{
		"index.html": "I am n", "x": "the node's",
		// A pattern that is too long for nginx.
		"_statiko.yaml": "rules: [{match: \"^/(?i:" + strings.Repeat("kkkkkkkkks", 300) + "q)\", options: {deny: true}}]",
	})
	apply(t, p.next(Options{}), site)
	p.stop()
	free := fill(t, p.dir)
	s := p.next(untold())
	awaitServing(t, s)
	more := page(t, "e.test", "I am e")
	for range 2 {
		if _, err := tryApply(t, s, site, more); err == nil {
			t.Error("another site on a full disk is taken")
		}
		wantBody(t, s, "n.test", "/x", "the node's")
	}
	// What was given up meanwhile is in nobody's way.
	free()
	other := newSite(t, "f.test", "e.test")
	apply(t, s, site, stage(t, other, map[string]string{"index.html": "I am f"}))
	wantBody(t, s, "n.test", "/x", "the node's")
	wantBody(t, s, "f.test", "/", "I am f")
}
