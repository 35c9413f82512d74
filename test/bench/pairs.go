package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"statiko/certs"
)

// measurePairs makes self-signed pairs on one processor, beside the commands that administrators use.
func measurePairs(ctx context.Context, b *bench) error {
	var ours, theirs []float64
	openssl, missing := exec.LookPath("openssl")
	dir := filepath.Join(b.dir, "pairs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for round := range b.size.rounds {
		n, err := rate(ctx, b.size.round, func(i int) error {
			_, _, err := certs.SelfSigned(certs.Request{Names: []string{fmt.Sprintf("pair-%d.example.test", i)}})
			return err
		})
		if err != nil {
			return err
		}
		ours = append(ours, n)
		if missing != nil {
			continue
		}
		n, err = rate(ctx, b.size.round, func(i int) error { return opensslPair(ctx, openssl, dir, i) })
		if err != nil {
			return err
		}
		theirs = append(theirs, n)
		say("  round %d: ours %s, openssl %s pairs/s", round+1, number(ours[round]), number(n))
	}
	r := row{Part: "e", What: "self-signed pairs, ECDSA P-256, one processor", Unit: "pairs/s", Ours: median(ours), Growth: spread(ours)}
	if missing != nil {
		r.Against = "openssl is missing: apt-get install openssl"
	} else {
		r = r.against("openssl", median(theirs))
		r.Ratio = median(ratios(ours, theirs))
	}
	b.add(r)
	return nil
}

// opensslPair makes a pair by the two usual commands.
func opensslPair(ctx context.Context, openssl, dir string, i int) error {
	key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	name := fmt.Sprintf("pair-%d.example.test", i)
	for _, args := range [][]string{
		{"ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key},
		{"req", "-x509", "-key", key, "-out", cert, "-days", "365", "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name},
	} {
		if out, err := exec.CommandContext(ctx, openssl, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("openssl %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// rate calls f one after the other for a while and returns how often a second.
func rate(ctx context.Context, d time.Duration, f func(i int) error) (float64, error) {
	began := time.Now()
	i := 0
	for ; time.Since(began) < d; i++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := f(i); err != nil {
			return 0, err
		}
	}
	return float64(i) / time.Since(began).Seconds(), nil
}

// spread says between which values the rounds were.
func spread(values []float64) string {
	if len(values) < 2 {
		return ""
	}
	return fmt.Sprintf("rounds: %s to %s", number(percentile(values, 0)), number(percentile(values, 100)))
}
