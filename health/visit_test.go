package health

import (
	"crypto/tls"
	"slices"
	"testing"
)

// A visit offers no key agreement beside elliptic curves, as Go's clients do by themselves with ML-KEM.
func TestVisit_DoesWithoutMLKEM(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	w.add("a.test", nil)
	if is := w.settled("a.test"); !is.Healthy {
		t.Fatalf("%+v", is)
	}
	var offered []tls.CurveID
	w.set(func() { offered = w.offered["a.test"] })
	cheap := []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	if len(offered) == 0 || slices.ContainsFunc(offered, func(id tls.CurveID) bool { return !slices.Contains(cheap, id) }) {
		t.Errorf("it offers %v", offered)
	}
}
