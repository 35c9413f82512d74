package certs

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"statiko/secret"
	"statiko/state"
)

// job is one site to see to.
type job struct {
	site *state.Site
	// name is that of the pair it needs, old is the pair there is (nil if none) and revision its last change.
	name     string
	old      *state.Secret
	revision int64
	// thorough also compares the pair's key with its certificate.
	thorough bool
}

// result is what came of a job: neither sealed nor err if the pair there is good.
type result struct {
	job    job
	reason string
	sealed []byte
	err    error
}

// work does jobs until ctx ends.
func (d *Duty) work(ctx context.Context, jobs <-chan job, results chan<- result) {
	for {
		var res result
		select {
		case j := <-jobs:
			res = d.do(j)
		case <-ctx.Done():
			return
		}
		select {
		case results <- res:
		case <-ctx.Done():
			return
		}
	}
}

func (d *Duty) do(j job) result {
	res := result{job: j, reason: "is missing"}
	if j.old != nil {
		if res.reason = d.fault(j); res.reason == "" {
			return res
		}
	}
	res.sealed, res.err = d.produce(j.site)
	return res
}

// fault says why the pair there is must be replaced, or "".
func (d *Duty) fault(j job) string {
	key, leaf, err := d.openPair(j.old)
	if err != nil {
		return "cannot be read: " + err.Error()
	}
	now := d.o.Now()
	switch {
	case len(notCovered(leaf, j.site.Names())) > 0:
		return "does not cover the site's names"
	case now.Before(leaf.NotBefore):
		return "is not valid yet"
	case dueAt(leaf, now):
		return "is due for renewal"
	}
	if j.thorough {
		if signer, err := parseKey(key); err != nil || !samePublic(signer.Public(), leaf.PublicKey) {
			return "has a key that is not the certificate's"
		}
	}
	return ""
}

// openPair returns a stored pair's key, as text, and its certificate.
func (d *Duty) openPair(sec *state.Secret) (key []byte, leaf *x509.Certificate, err error) {
	plain, err := d.o.Keyring.Open(sec.Sealed)
	if err != nil {
		return nil, nil, err
	}
	key, cert, err := secret.UnpackPair(plain)
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(cert)
	if block == nil || block.Type != blockCertificate {
		return nil, nil, errors.New("there is no certificate in it")
	}
	leaf, err = x509.ParseCertificate(block.Bytes)
	return key, leaf, err
}

// ownerOf returns the primary domain of the site that a pair is named after, which is the certificate's first name,
// or "" if it cannot be told.
func (d *Duty) ownerOf(sec *state.Secret) string {
	_, leaf, err := d.openPair(sec)
	if err != nil || len(leaf.DNSNames) == 0 {
		return ""
	}
	prefix := sec.Name[:strings.LastIndexByte(sec.Name, '/')+1]
	if secret.PairName(prefix, leaf.DNSNames[0], leaf.DNSNames[1:]) != sec.Name {
		return ""
	}
	return leaf.DNSNames[0]
}

func (d *Duty) makeSealed(site *state.Site) ([]byte, error) {
	cert, key, err := SelfSigned(Request{Names: site.Names(), KeyType: d.o.KeyType, Life: d.o.Life, Now: d.o.Now()})
	if err != nil {
		return nil, err
	}
	packed, err := secret.PackPair(key, cert)
	if err != nil {
		return nil, fmt.Errorf("pack the pair of %s: %w", site.Domain, err)
	}
	return d.o.Keyring.Seal(packed)
}

// next returns the next job: what is missing before what may need renewal. It stays the next until fed.
func (r *round) next() (job, bool) {
	if len(r.done) >= maxWaiting {
		return job{}, false
	}
	if r.ahead != nil && r.ahead.old != nil && len(r.missing) > 0 {
		r.checks = append(r.checks, r.ahead.site.Domain)
		r.ahead = nil
	}
	for r.ahead == nil {
		var domain string
		switch {
		case len(r.missing) > 0:
			domain, r.missing = r.missing[0], r.missing[1:]
		case len(r.checks) > 0:
			domain, r.checks = r.checks[0], r.checks[1:]
		default:
			return job{}, false
		}
		r.prepare(domain)
	}
	return *r.ahead, true
}

// prepare makes the domain's job the next, if there is something to do for it.
func (r *round) prepare(domain string) {
	if _, busy := r.inWork[domain]; busy {
		r.inWork[domain] = true
		return
	}
	site, ok := siteOf(r.seen, domain)
	if !ok {
		delete(r.failed, domain)
		return
	}
	if f, ok := r.failed[domain]; ok && time.Now().Before(f.at) {
		return
	}
	name := needIn(r.seen, domain)
	if name == "" {
		return
	}
	j := job{site: site, name: name}
	if old, ok := r.seen.Secret(name); ok {
		j.old, j.revision = old, r.seen.RevisionOf(old.Key())
		j.thorough = r.thorough || j.revision > r.fullRevision
	}
	r.ahead = &j
}

// fed notes that a worker has taken the next job.
func (r *round) fed() {
	r.inWork[r.ahead.site.Domain] = false
	r.ahead = nil
	r.making++
}

// finished takes what a worker made.
func (r *round) finished(res result) {
	r.making--
	domain := res.job.site.Domain
	switch {
	case res.err != nil:
		r.fail(res.job, res.err)
	case res.sealed == nil:
		delete(r.failed, domain)
		r.workDone(domain)
	default:
		delete(r.failed, domain)
		if len(r.done) == 0 {
			r.doneSince = time.Now()
		}
		r.done = append(r.done, made{res.job, res.sealed})
		r.d.o.Log.Debug("made a certificate", zap.String("site", domain), zap.String("because", res.reason))
	}
}

// fail puts a job off that cannot be done.
func (r *round) fail(j job, err error) {
	domain := j.site.Domain
	f := r.failed[domain]
	f.attempts++
	f.at = time.Now().Add(jittered(min(time.Second<<min(f.attempts, 12), 10*time.Minute)))
	r.failed[domain] = f
	if r.retryAt.IsZero() || f.at.Before(r.retryAt) {
		r.retryAt = f.at
	}
	r.d.o.Log.Error("cannot make a certificate, trying again later", zap.String("site", domain),
		zap.Int("attempts", f.attempts), zap.Error(err))
	r.workDone(domain)
}

// workDone ends the work on a domain, and looks again if it was asked to meanwhile.
func (r *round) workDone(domain string) {
	again := r.inWork[domain]
	delete(r.inWork, domain)
	if again {
		r.reconsider(domain)
	}
}
